// Ahead: fills the slab in front of streams of sequential reads, over the ends of chunks.
// (Within a chunk the first read's fill is already as wide as its extent.) An order whose chunk
// does not exist, or for which there is no memory or no room here, is dropped: whoever needs the
// bytes will ask for them. Thread rule: the store's loop.
#pragma once

#include "store/read_op.h"

namespace gd2fs {

class Ahead {
 public:
  static constexpr size_t kOrdersMax = 64;  // under way

  Ahead(StoreCore& core, Pool<StoreReadState>& reads) : core_(core), reads_(reads) {}
  // A stream has reached the chunk of this read: its ahead_bytes follow.
  void want(const StoreRead& stream);

 private:
  struct Order;
  StoreCore& core_;
  Pool<StoreReadState>& reads_;
  size_t orders_ = 0;
};

}  // namespace gd2fs
