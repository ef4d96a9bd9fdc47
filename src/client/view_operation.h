// ViewOperation: a read that leaves the bytes where they lie, if a server on this host lends them.
//
//   a read, but for granted bytes, which are noted -> side by side in one arena: the request's
//   `lent` -> else copied into the request's memory, like all that was not lent
//
// What is lent is held by nobody: whoever looks at it asks afterwards whether it still was right
// (LentBytes::still_right). Bytes that were recycled before they could be copied make the whole
// start over as a plain read.
#pragma once

#include "client/read_operation.h"

namespace gd2fs::client {

class ViewOperation final : public ReadOperation {
 public:
  ViewOperation(Client& client, Request& request);

 private:
  Status on_batch_ok(Batch& batch) override;
  void on_batches_done() override;
  void start_over() override;
  bool in_one_piece() const;
  bool copy_out() const;

  std::vector<LentBytes> lent_;  // by offset in the request
};

}  // namespace gd2fs::client
