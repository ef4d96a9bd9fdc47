// AdviseOperation: prefetch and query: asks the servers of a stretch of a file to bring its bytes
// into their memory, or how many are there. No bytes move. (Advice to drop is one question to the
// controller: name_operation.h.)
#pragma once

#include "client/data_operation.h"

namespace gd2fs::client {

class AdviseOperation final : public DataOperation {
 public:
  AdviseOperation(Client& client, Request& request) : DataOperation(client, request, false) {}

 protected:
  void begin() override;
  Result<ConstBytes> compose(Batch& batch, Link& link,
                             flatbuffers::FlatBufferBuilder& builder) override;
  msg::Type message_type() const override {
    return prefetch() ? msg::Type::prefetch : msg::Type::residency;
  }
  uint64_t batch_bytes() const override;
  Status on_batch_ok(Batch& batch) override;
  void on_batch_stale(std::unique_ptr<Batch>) override {}  // start_over asks anew for all
  void on_batches_done() override;
  void start_over() override;

 private:
  bool prefetch() const { return request_.advice == Advice::prefetch; }

  uint64_t generation_ = 0;
  uint64_t resident_bytes_ = 0;
};

}  // namespace gd2fs::client
