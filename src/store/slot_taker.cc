#include "store/slot_taker.h"

namespace gd2fs {
namespace {

// The next file of a class that already fills files is made before the last slot is gone.
constexpr uint32_t kSlotsLeftWanted = 8;

}  // namespace

SlotTaker::SlotTaker() {
  stepped_.bind<&SlotTaker::on_step>(this);
  later_.bind<&SlotTaker::on_step>(this);
}

void SlotTaker::start(StoreCore& core, const ChunkKey& key, uint32_t blocks, Completion& done) {
  done.start();
  core_ = &core;
  key_ = key;
  slot_class_ = slot_class_for(blocks);
  done_ = &done;
  rounds_ = 0;
  step_ = Step::make_file;
  tried_.clear();
  bound_to_drive_ = core.drive_of(key) != nullptr;
  unit_ = core.drive_for(key);
  if (unit_ == nullptr || !unit_->drive.serving()) {
    finish(Status(StatusCode::unavailable, "no drive can take this chunk"));
    return;
  }
  go_on();
}

bool SlotTaker::take() {
  SlotMap& slots = unit_->drive.slots;
  // A bigger slot wastes space; it is for a drive that has nothing else left.
  if (slots.free_slots(slot_class_) == 0 && step_ <= Step::make_file) return false;
  const std::optional<Slot> slot = slots.take(slot_class_);
  if (!slot) return false;
  slot_ = *slot;
  return true;
}

void SlotTaker::go_on() {
  Drive& drive = unit_->drive;
  if (!drive.serving()) {
    finish(Status(StatusCode::unavailable, "the chunk's drive is set aside"));
    return;
  }
  if (take()) {
    got_slot();
    return;
  }
  if (++rounds_ > kRoundsMax) {
    finish(Status(StatusCode::no_space, "no free slot"));
    return;
  }
  switch (step_) {
    case Step::make_file:
    case Step::make_file_again:
      drive.make_file(slot_class_, stepped_);
      return;
    case Step::flush_drops:
      unit_->groups.flush(stepped_);
      return;
    case Step::remove_file:
      drive.remove_empty_file(true, stepped_);
      return;
    case Step::wait_wipe:
      core_->loop.start(later_, kWipeWaitNs);
      return;
  }
}

void SlotTaker::on_step(Completion& done) {
  const Status status = &done == &stepped_ ? done.status : Status();
  const bool full = status.is(StatusCode::no_space);
  if (!status.ok() && !full && !status.is(StatusCode::not_found) && !status.is(StatusCode::busy)) {
    finish(status);
    return;
  }
  switch (step_) {
    case Step::make_file:
      if (full) step_ = Step::flush_drops;
      break;
    case Step::flush_drops:
      step_ = Step::remove_file;
      break;
    case Step::remove_file:
      step_ = Step::make_file_again;
      break;
    case Step::make_file_again:
      if (!full) break;
      if (unit_->drive.slots.unsettled() != 0 && rounds_ < kRoundsMax / 2) {
        step_ = Step::wait_wipe;  // slots being wiped come back in a moment
        break;
      }
      next_drive();
      return;
    case Step::wait_wipe:
      step_ = Step::make_file_again;
      break;
  }
  go_on();
}

void SlotTaker::next_drive() {
  tried_.resize(core_->drives.size());
  tried_[unit_->drive.index()] = true;
  for (size_t i = 0; i < core_->drives.size() && !bound_to_drive_; ++i) {
    if (tried_[i] || !core_->drives[i]->drive.serving()) continue;
    unit_ = core_->drives[i].get();
    step_ = Step::make_file;
    go_on();
    return;
  }
  finish(Status(StatusCode::no_space, "the drives are full"));
}

// A new chunk away from its home: every drive's log tells of it first.
void SlotTaker::got_slot() {
  SlotMap& slots = unit_->drive.slots;
  const bool growing = slots.next_number(slot_class_) > 1;
  if (growing && slots.free_slots(slot_class_) == kSlotsLeftWanted) {
    unit_->drive.make_file_ahead(slot_class_);
  }
  if (bound_to_drive_ || !core_->placement.needs_overflow(key_, unit_->drive.index(), &overflow_)) {
    finish(Status());
    return;
  }
  logging_.clear();
  logs_left_ = 1;
  for (const auto& unit : core_->drives) {
    if (!unit->drive.serving()) continue;
    auto& logged = logging_.emplace_back(std::make_unique<Completion>());
    logged->bind<&SlotTaker::on_overflow_logged>(this);
    ++logs_left_;
    unit->drive.append_log({overflow_}, *logged);
  }
  --logs_left_;
}

// A drive whose log failed is set aside; the others know.
void SlotTaker::on_overflow_logged(Completion&) {
  if (--logs_left_ != 0) return;
  if (!unit_->drive.serving()) {
    finish(Status(StatusCode::unavailable, "the chunk's drive is set aside"));
    return;
  }
  core_->placement.add_overflow(overflow_.a, overflow_.b);
  finish(Status());
}

void SlotTaker::finish(const Status& status) {
  core_->loop.complete(*done_, status);
}

}  // namespace gd2fs
