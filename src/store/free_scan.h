// FreeScan: after an unclean stop, looks at the descriptors in the slots that the index calls free,
// and wipes what it finds: writes that were under way and never acknowledged, and what was dropped
// and not wiped yet.
//
// It is also what notices an index that has lost commits (a deleted write-ahead log, an old copy
// put back): a descriptor in a free slot that was settled, and that neither a newer extent nor a
// fence explains, was committed. Then nothing is wiped, and the caller rebuilds.
//
// Thread rule: the store's loop.
#pragma once

#include "store/slot_scan.h"

namespace gd2fs {

class FreeScan {
 public:
  FreeScan(StoreCore& core, DriveUnit& unit, uint64_t watermark)
      : core_(core), unit_(unit), watermark_(watermark) {}
  Task<Status> run();
  bool index_is_stale() const { return stale_; }

 private:
  void look_at(const ScannedSlot& scanned);
  bool explained(const Descriptor& descriptor);

  StoreCore& core_;
  DriveUnit& unit_;
  uint64_t watermark_;
  std::vector<Slot> to_wipe_;
  uint64_t unexplained_version_ = UINT64_MAX;  // the lowest
  bool stale_ = false;
};

}  // namespace gd2fs
