// FreeScan: after an unclean stop, looks at the descriptors in the slots that the index calls free.
//
// A write that was under way and is whole on the drive is taken into the index: whether it was
// committed only the end of the index's write-ahead log could tell, and that may be what is lost.
// Nobody was told that it did not happen. What is torn, and what was dropped and not wiped yet, is
// wiped, so that it cannot come back later.
//
// Had the last commit dropped an extent, its slot may have been used again: so the slots of extents
// that show nothing are looked at too.
//
// It is also what notices an index that has lost more than its last commit (an old copy put back):
// a descriptor in a free slot that was settled, and that neither a newer extent nor a fence
// explains, was committed. Then nothing is touched, and the caller rebuilds.
//
// Thread rule: the store's loop.
#pragma once

#include "store/slot_scan.h"

namespace gd2fs {

class FreeScan {
 public:
  static constexpr size_t kUnexplainedMax = 4 * StoreCore::kWritesMax;

  FreeScan(StoreCore& core, DriveUnit& unit, uint64_t watermark)
      : core_(core), unit_(unit), watermark_(watermark) {}
  Task<Status> run();
  bool index_is_stale() const { return stale_; }

 private:
  Task<Status> look_at_doomed();
  void look_at(ScannedSlot scanned);
  Task<Status> judge(ScannedSlot scanned);
  void adopt(const ScannedSlot& scanned);
  Task<Status> commit_adopted();
  bool explained(const SlotDescriptor& descriptor);

  StoreCore& core_;
  DriveUnit& unit_;
  uint64_t watermark_;
  std::vector<Slot> to_wipe_;
  std::vector<ScannedSlot> unexplained_;
  IndexBatch adopted_;
  std::vector<DedupWindow::Forgotten> forgotten_;
  std::set<uint16_t> files_;                   // that hold what was adopted
  uint64_t unexplained_version_ = UINT64_MAX;  // the lowest
  bool stale_ = false;
};

}  // namespace gd2fs
