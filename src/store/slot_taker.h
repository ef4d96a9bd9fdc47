// SlotTaker: finds a slot for a chunk's next extent, making room if it must: a new data file, then
// slots whose drop is on its way, then the space of an empty file of another class, then another
// drive if the chunk is on none yet. no_space when all of that fails.
//
// Embedded in its operation. Thread rule: the store's loop.
#pragma once

#include "store/store_core.h"

namespace gd2fs {

class SlotTaker {
 public:
  SlotTaker();
  // done: ok (then unit() and slot() are the caller's), no_space, unavailable.
  void start(StoreCore& core, const ChunkKey& key, uint32_t blocks, Completion& done);
  DriveUnit& unit() const { return *unit_; }
  Slot slot() const { return slot_; }

 private:
  enum class Step : uint8_t { make_file, flush_drops, remove_file, make_file_again, wait_wipe };
  static constexpr uint32_t kRoundsMax = 64;  // others may take what was made for us
  static constexpr uint64_t kWipeWaitNs = 2 * kMs;

  bool take();
  void on_step(Completion& done);
  void go_on();
  void next_drive();
  void got_slot();
  void on_overflow_logged(Completion& done);
  void finish(const Status& status);

  StoreCore* core_ = nullptr;
  ChunkKey key_;
  uint8_t slot_class_ = 0;
  DriveUnit* unit_ = nullptr;
  Slot slot_;
  Completion* done_ = nullptr;
  Completion stepped_;
  Timer later_;
  Step step_ = Step::make_file;
  uint32_t rounds_ = 0;
  std::vector<bool> tried_;
  bool bound_to_drive_ = false;
  LogRecord overflow_;
  std::vector<std::unique_ptr<Completion>> logging_;
  uint32_t logs_left_ = 0;
};

}  // namespace gd2fs
