// Wipe: takes the descriptors off some slots, durably. The slots are taken by the caller and stay
// so; each counts as settled when `done` is ok. A drive that cannot do it is set aside.
//
// Embedded or owned by who asks. Thread rule: the store's loop.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "store/store_core.h"

namespace gd2fs {

class Wipe {
 public:
  static constexpr size_t kSlotsMax = 256;
  Wipe();
  void start(StoreCore& core, DriveUnit& unit, std::vector<Slot> slots, Completion& done);
  const std::vector<Slot>& slots() const { return slots_; }

 private:
  void on_piece(Completion& done);
  void on_written(Completion& done);
  void on_synced(Completion& done);

  StoreCore* core_ = nullptr;
  DriveUnit* unit_ = nullptr;
  std::vector<Slot> slots_;
  Completion* done_ = nullptr;
  std::deque<Completion> pieces_;
  Completion written_;
  Completion synced_;
  Join join_;
};

}  // namespace gd2fs
