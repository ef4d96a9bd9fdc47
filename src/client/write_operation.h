// WriteOperation: pwritev.
//
//   layout (made if missing) -> reserve, if it grows past what is reserved -> batches ->
//   set_size, if it ends past the size -> done
//
// Every piece keeps its sequence over all retries, so it is executed once, and its generation until
// a server answers stale: then the unanswered pieces go out again under the new generation of the
// same inode. If the path is another file by then, the write starts anew, unless a part may have
// reached the old one: then it fails with ENOENT rather than happen in halves.
#pragma once

#include "client/data_operation.h"
#include "client/sizes.h"

namespace gd2fs::client {

class WriteOperation final : public DataOperation {
 public:
  WriteOperation(Client& client, Request& request);

 private:
  void begin() override;
  Result<ConstBytes> compose(Batch& batch, Link& link,
                             flatbuffers::FlatBufferBuilder& builder) override;
  Status on_batch_ok(Batch& batch) override;
  void on_batch_stale(std::unique_ptr<Batch> batch) override;
  void on_batches_done() override;
  void start_over() override { resolve_after_stale(); }
  void stop_own() override;
  bool quiet_own() const override { return !asking_size_; }

  void ask(Sizes::Kind kind, uint64_t generation);
  void on_size(Completion&);
  void begin_after_refused_size();
  void acked(uint64_t generation, const Piece& piece);
  // Where the pieces end that were acknowledged under the newest generation.
  uint64_t acked_end() const { return request_.offset + acked_bytes_; }
  uint64_t end() const { return request_.offset + request_.memory.length_bytes(); }

  Sizes::Wish size_;
  bool asking_size_ = false;
  bool started_ = false;  // batches were planned for inode_
  uint64_t inode_ = 0;
  uint64_t acked_generation_ = 0;  // the newest under which a piece was acknowledged
  uint64_t acked_bytes_ = 0;       // and the end of those pieces, from the request's start
  uint64_t known_generation_ = 0;  // of the layout that begin() saw last, and the size it had
  uint64_t known_size_ = 0;
  bool size_refused_ = false;  // set_size was stale: everything is written already
};

}  // namespace gd2fs::client
