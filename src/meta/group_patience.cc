#include "meta/group_patience.h"

namespace gd2fs {

namespace {
constexpr uint64_t kAverageOver = 8;  // groups
// Who is answered needs about as long to come back as a group takes on a fast drive: what either
// consists of is wake-ups.
constexpr uint64_t kWaitGroups = 2;
}  // namespace

void GroupPatience::ended(size_t answered, uint64_t took_ns, uint64_t now_ns) {
  expected_ = answered;
  usual_ns_ = usual_ns_ - usual_ns_ / kAverageOver + took_ns / kAverageOver;
  waited_ = 0;
  if (pause_ > 0) {
    --pause_;
    until_ns_ = now_ns;
  } else {
    until_ns_ = now_ns + std::min(kWaitGroups * usual_ns_, kWaitMaxNs);
  }
}

uint64_t GroupPatience::wait_ns(size_t waiting, size_t alive, uint64_t now_ns) {
  const size_t others = alive - std::min(alive, waiting);
  absent_ = std::min(absent_, others);
  const bool more = expected_ > 0 || others > absent_;
  if (more && now_ns < until_ns_) {
    if (waited_ == 0) waited_ = waiting;
    return until_ns_ - now_ns;
  }
  if (waited_ > 0) end_wait(waiting, more ? others : absent_);
  return 0;
}

void GroupPatience::end_wait(size_t waiting, size_t absent) {
  const bool paid = waiting > waited_;
  pause_ = paid ? 0 : next_pause_;
  next_pause_ = paid ? 1 : std::min(2 * next_pause_, kPauseMax);
  absent_ = absent;
  waited_ = 0;
}

}  // namespace gd2fs
