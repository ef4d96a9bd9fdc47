// Fill: one disk read into the slab that any number of readers share (single flight). It covers a
// run of blocks that one extent shows, at most kFillBlocksMax of them; good blocks that are still
// shown by that extent when it ends become readable for all.
//
// Owned by StoreCore's activity: made by Fill::start(), deletes itself when its readers have been
// answered. Thread rule: the store's loop.
#pragma once

#include "store/store_core.h"

namespace gd2fs {

// A reader's interest in some blocks of a fill. done: ok (then `page` is held for the reader),
// corrupt, io, unavailable.
struct FillWait : ListNode<> {
  uint32_t first_block = 0;
  uint32_t blocks = 0;
  SlabPage* page = nullptr;
  Completion done;
};

class Fill final : private OwnedOperation {
 public:
  static constexpr uint32_t kFillBlocksMax = kFillMaxBytes / kBlockBytes;

  // `page` is private and held; the fill takes the hold over.
  static Fill& start(StoreCore& core, const ExtentRead::Range& range, SlabPage& page);
  // The fill under way that reads this block of this very extent, or nullptr.
  static Fill* find(StoreCore& core, const ChunkKey& key, const Extent& extent, uint32_t block);

  void join(FillWait& wait);
  uint32_t first_block() const { return range_.first_block; }
  uint32_t end_block() const { return range_.first_block + range_.blocks; }

 private:
  Fill(StoreCore& core, const ExtentRead::Range& range, SlabPage& page);
  void on_read(Completion& done);
  void publish();
  Status status_for(const FillWait& wait) const;

  StoreCore& core_;
  ExtentRead::Range range_;
  SlabPage& page_;
  ExtentRead read_;
  Completion read_done_;
  List<FillWait> waits_;
};

}  // namespace gd2fs
