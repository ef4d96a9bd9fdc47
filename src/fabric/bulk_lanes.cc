#include "fabric/bulk_lanes.h"

#include <algorithm>

namespace gd2fs {

BulkLanes::BulkLanes(Loop& loop, std::shared_ptr<LanePumps> pumps, uint64_t help_from_bytes,
                     uint32_t lanes, std::function<void()> on_word)
    : loop_(loop),
      pumps_(std::move(pumps)),
      help_from_bytes_(help_from_bytes),
      board_(std::make_shared<BulkBoard>(loop, std::move(on_word))),
      slots_(lanes) {
  for (Slot& slot : slots_) {
    slot.owner = this;
    slot.waits.bind<&Slot::on_first_bytes>(&slot);
  }
}

void BulkLanes::add(uint16_t index, TcpSocket socket) {
  slots_[index].lane = std::make_unique<BulkLane>(board_, index, std::move(socket));
}

Status BulkLanes::start() {
  started_ = true;
  for (Slot& slot : slots_) {
    if (slot.lane == nullptr || slot.waits.watched()) continue;
    GD2FS_TRY(wait_for_first_bytes(slot));
  }
  return {};
}

Status BulkLanes::wait_for_first_bytes(Slot& slot) {
  GD2FS_TRY(loop_.watch(slot.waits, slot.lane->fd(), EPOLLIN | EPOLLONESHOT));
  board_->add_idle(static_cast<uint16_t>(&slot - slots_.data()));
  return {};
}

void BulkLanes::Slot::on_first_bytes(uint32_t) {
  if (owner->run(*this)) return;
  owner->board_->fail(Status(StatusCode::busy, "no thread can be started for a lane"));
}

// Gives the lane to a pump, if it has none. False: there is none to be had.
bool BulkLanes::run(Slot& slot) {
  if (slot.pump != nullptr) return true;
  slot.pump = pumps_->take();
  if (slot.pump == nullptr) return false;
  slot.lane->start(*slot.pump);
  return true;
}

bool BulkLanes::wants_stripes() const {
  return board_->queued_bytes() < std::max(slots_.size() * kReadyBytesPerLane, help_from_bytes_);
}

void BulkLanes::wake() {
  if (!started_) return;
  if (board_->queued_bytes() < help_from_bytes_) return;
  const LaneMask lanes = board_->take_idle(slots_.size());
  for (size_t i = 0; i < slots_.size(); ++i) {
    if ((lanes >> i & 1) == 0) continue;
    if (slots_[i].pump != nullptr) {
      slots_[i].lane->kick();
    } else if (!run(slots_[i])) {
      return;  // the first lane carries it
    }
  }
}

template <class Do>
void BulkLanes::with_held(LaneMask lanes, Do what) {
  for (size_t i = 0; i < slots_.size(); ++i) {
    if ((lanes >> i & 1) == 0 || slots_[i].lane == nullptr) continue;
    BulkLane& lane = *slots_[i].lane;
    const LaneGate::Held held(lane.gate);
    what(lane);
  }
}

void BulkLanes::forget(Window& window, std::vector<PullRange>* gone) {
  LaneMask lanes = board_->forget(window, gone);
  if (window.stripes_busy > 0) lanes = ~LaneMask{0};  // one of them is sending out of it
  if (lanes == 0) return;
  with_held(lanes, [&](BulkLane& lane) {
    lane.reader.forget(window);
    lane.writer.drop_unbegun([&](const OutFrame& frame) {
      if (frame.window != &window) return false;
      gone->push_back({frame.window_offset, frame.payload_bytes});
      return true;
    });
    lane.writer.forget(window);
  });
  board_->forget(window, gone);  // what they said meanwhile
  window.stripes_busy = 0;
}

void BulkLanes::forget(const Pull& pull) {
  const LaneMask lanes = board_->forget(pull);
  if (lanes == 0) return;
  with_held(lanes, [&](BulkLane& lane) { lane.reader.forget(pull); });
  board_->forget(pull);
}

Status BulkLanes::tick(uint64_t tick_ns, uint64_t dead_after_ns) {
  for (Slot& slot : slots_) {
    if (slot.pump == nullptr) continue;
    BulkLane& lane = *slot.lane;
    if (lane.take_heard()) {
      lane.silent_ticks = 0;
      continue;
    }
    if (++lane.silent_ticks * tick_ns >= dead_after_ns) {
      return {StatusCode::unavailable, "the peer was silent for too long"};
    }
    if (lane.silent_ticks == 2) lane.ping();
  }
  return {};
}

void BulkLanes::stop() {
  board_->detach();
  for (Slot& slot : slots_) {
    if (slot.lane == nullptr) continue;
    loop_.unwatch(slot.waits);
    BulkLane::rest(std::move(slot.lane));
    if (slot.pump != nullptr) pumps_->give_back(*std::exchange(slot.pump, nullptr));
  }
}

}  // namespace gd2fs
