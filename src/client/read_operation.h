// ReadOperation: preadv.
//
//   layout -> (the end lies past its size: ask again) -> batches -> holes filled with zeros -> done
//
// When a server answers stale, the whole read starts over with a new layout once nothing is in
// flight, so that its bytes come from one file.
#pragma once

#include "client/data_operation.h"
#include "wire/body_form.h"

namespace gd2fs::client {

class ReadOperation : public DataOperation {
 public:
  ReadOperation(Client& client, Request& request) : DataOperation(client, request, false) {}

 protected:
  Status on_batch_ok(Batch& batch) override;
  void on_batches_done() override;
  void start_over() override;

  uint64_t length_ = 0;  // asked for, cut at the end of the file

 private:
  void begin() override;
  Result<ConstBytes> compose(Batch& batch, Link& link,
                             flatbuffers::FlatBufferBuilder& builder) override;
  ConstBytes fill_form(const Batch& batch, uint32_t handle, uint64_t group_epoch);
  void on_batch_stale(std::unique_ptr<Batch>) override {}

  uint64_t generation_ = 0;  // of the layout that said where that is
  bool sequential_ = false;
  bool stream_ = false;  // goes on where the last read of the file ended
};

}  // namespace gd2fs::client
