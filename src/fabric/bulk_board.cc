#include "fabric/bulk_board.h"

#include <algorithm>

namespace gd2fs {
namespace {

Status violation(std::string_view what) {
  return {StatusCode::invalid, what};
}

}  // namespace

// --- the loop ---

void BulkBoard::expose(Window& window) {
  std::lock_guard lock(mutex_);
  windows_.emplace(window.request_id, &window);
}

LaneMask BulkBoard::forget(Window& window, std::vector<PullRange>* gone) {
  std::lock_guard lock(mutex_);
  const auto found = windows_.find(window.request_id);
  if (found != windows_.end() && found->second == &window) windows_.erase(found);
  std::erase_if(queued_, [&](const OutStripe& stripe) {
    if (stripe.window != &window) return false;
    gone->push_back({stripe.header.offset, stripe.header.payload_bytes});
    queued_bytes_ -= stripe.header.payload_bytes;
    --window.stripes_busy;
    return true;
  });
  std::erase_if(arrived_, [&](const Arrived& each) { return each.window == &window; });
  window.stripes_busy -= static_cast<uint32_t>(
      std::erase_if(sent_, [&](const Sent& each) { return each.window == &window; }));
  LaneMask lanes = 0;
  for (size_t i = 0; i < kLanesMax; ++i) {
    if (current_[i].window != &window) continue;
    current_[i] = {};
    lanes |= LaneMask{1} << i;
  }
  return lanes;
}

void BulkBoard::expect(Pull& pull, PullRange range) {
  const Bytes place = pull.into.subspan(range.offset - pull.offset, range.length_bytes);
  std::lock_guard lock(mutex_);
  expected_.insert_or_assign(
      StripeName{pull.request_id, range.offset},
      Expected{&pull, place, crcs_of(pull, range.offset, range.length_bytes)});
}

bool BulkBoard::claim(const FrameHeader& header) {
  std::lock_guard lock(mutex_);
  const auto found = expected_.find({header.request_id, header.offset});
  if (found == expected_.end() || found->second.place.size() != header.payload_bytes) return false;
  expected_.erase(found);
  return true;
}

LaneMask BulkBoard::forget(const Pull& pull) {
  std::lock_guard lock(mutex_);
  std::erase_if(expected_, [&](const auto& each) { return each.second.pull == &pull; });
  std::erase_if(arrived_, [&](const Arrived& each) { return each.pull == &pull; });
  LaneMask lanes = 0;
  for (size_t i = 0; i < kLanesMax; ++i) {
    if (current_[i].pull != &pull) continue;
    current_[i] = {};
    lanes |= LaneMask{1} << i;
  }
  return lanes;
}

void BulkBoard::queue(const OutStripe& stripe) {
  std::lock_guard lock(mutex_);
  queued_.push_back(stripe);
  queued_bytes_ += stripe.header.payload_bytes;
}

uint64_t BulkBoard::queued_bytes() const {
  std::lock_guard lock(mutex_);
  return queued_bytes_;
}

LaneMask BulkBoard::take_idle(size_t most) {
  std::lock_guard lock(mutex_);
  LaneMask taken = 0;
  for (most = std::min(most, queued_.size()); most > 0 && idle_ != 0; --most) {
    const LaneMask lowest = idle_ & (~idle_ + 1);
    taken |= lowest;
    idle_ &= ~lowest;
  }
  return taken;
}

void BulkBoard::add_idle(uint16_t lane) {
  std::lock_guard lock(mutex_);
  idle_ |= LaneMask{1} << lane;
}

bool BulkBoard::next(Arrived* arrived) {
  std::lock_guard lock(mutex_);
  if (arrived_.empty()) return false;
  *arrived = arrived_.front();
  arrived_.pop_front();
  return true;
}

bool BulkBoard::next(Sent* sent) {
  std::lock_guard lock(mutex_);
  if (sent_.empty()) return false;
  *sent = sent_.front();
  sent_.pop_front();
  return true;
}

Status BulkBoard::failure() const {
  std::lock_guard lock(mutex_);
  return failure_;
}

// --- the pumps ---

Result<Landing> BulkBoard::land(uint16_t lane, const FrameHeader& header) {
  switch (header.kind) {
    case FrameKind::stripe:
      return land_stripe(lane, header);
    case FrameKind::pulled:
      return land_pulled(lane, header);
    case FrameKind::ping:
    case FrameKind::pong:
      return Landing();
    default:
      return gd2fs::fail(violation("a message on a lane other than 0"));
  }
}

Result<Landing> BulkBoard::land_stripe(uint16_t lane, const FrameHeader& header) {
  std::lock_guard lock(mutex_);
  const auto found = windows_.find(header.request_id);
  if (found == windows_.end()) return Landing();  // withdrawn: drained
  Window& window = *found->second;
  GD2FS_TRY(check_push(window, header));
  Landing landing;
  landing.window = &window;
  landing.offset = header.offset;
  current_[lane].window = &window;
  return landing;
}

Landing BulkBoard::land_pulled(uint16_t lane, const FrameHeader& header) {
  std::lock_guard lock(mutex_);
  Landing landing;
  const auto found = expected_.find({header.request_id, header.offset});
  if (found == expected_.end() || found->second.place.size() != header.payload_bytes) {
    return landing;
  }
  landing.memory = found->second.place;
  landing.pull = found->second.pull;
  landing.block_crcs = found->second.block_crcs;
  current_[lane].pull = landing.pull;
  expected_.erase(found);
  return landing;
}

void BulkBoard::landed(uint16_t lane, const InFrame& frame) {
  {
    std::lock_guard lock(mutex_);
    current_[lane] = {};
    if (frame.drained) return;
    arrived_.push_back({frame.header.request_id, frame.header.offset, frame.header.payload_bytes,
                        frame.payload_ok, frame.landing.window, frame.landing.pull});
  }
  call_loop();
}

void BulkBoard::sent(const OutFrame& frame) {
  if (frame.push == nullptr && frame.window == nullptr) return;
  {
    std::lock_guard lock(mutex_);
    sent_.push_back({frame.push, frame.window, frame.payload_bytes});
  }
  call_loop();
}

void BulkBoard::fail(const Status& status) {
  {
    std::lock_guard lock(mutex_);
    if (failure_.ok()) failure_ = status;
  }
  call_loop();
}

// --- both ---

bool BulkBoard::take_locked(OutStripe* stripe) {
  if (queued_.empty()) return false;
  *stripe = queued_.front();
  queued_.pop_front();
  queued_bytes_ -= stripe->header.payload_bytes;
  return true;
}

bool BulkBoard::take(OutStripe* stripe) {
  std::lock_guard lock(mutex_);
  return take_locked(stripe);
}

bool BulkBoard::take_or_idle(uint16_t lane, OutStripe* stripe) {
  std::lock_guard lock(mutex_);
  if (take_locked(stripe)) return true;
  idle_ |= LaneMask{1} << lane;
  return false;
}

void BulkBoard::call_loop() {
  {
    std::lock_guard lock(mutex_);
    if (std::exchange(called_, true)) return;
  }
  loop_.post([self = shared_from_this()] {
    {
      std::lock_guard lock(self->mutex_);
      self->called_ = false;
    }
    const auto on_word = self->on_word_;  // it may detach us
    if (on_word) on_word();
  });
}

}  // namespace gd2fs
