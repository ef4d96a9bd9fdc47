#include "sim/sim_world.h"

#include <algorithm>

namespace gd2fs {

SimWorld::Member::Member(SimWorld& world, Loop& loop) : world_(world), loop_(loop) {
  world_.members_.push_back(this);
}

SimWorld::Member::~Member() {
  std::ranges::replace(world_.members_, this, nullptr);
}

bool SimWorld::turn_once() {
  std::erase(members_, nullptr);
  if (members_.empty()) return false;
  if (instant_ns_ != clock_.now_ns()) {
    instant_ns_ = clock_.now_ns();
    turns_at_instant_ = 0;
  }
  CHECK(++turns_at_instant_ < kTurnsPerInstantMax);
  const size_t count = members_.size();  // those who join during the round wait for the next one
  const size_t first = count == 1 ? 0 : random_.below(count);
  size_t ran = 0;
  for (size_t i = 0; i < count; ++i) {
    Member* member = members_[(first + i) % count];
    if (member != nullptr) ran += member->loop_.run_ready();
  }
  return ran > 0;
}

uint64_t SimWorld::next_timer_ns() const {
  uint64_t next_ns = UINT64_MAX;
  for (const Member* member : members_) {
    if (member != nullptr) next_ns = std::min(next_ns, member->loop_.next_timer_ns());
  }
  return next_ns;
}

void SimWorld::run_ready() {
  while (turn_once()) {
  }
}

bool SimWorld::run_until_idle(uint64_t limit_ns) {
  run_until([] { return false; }, limit_ns);
  return next_timer_ns() == UINT64_MAX;
}

void SimWorld::run_until_ns(uint64_t time_ns) {
  if (time_ns > clock_.now_ns()) run_until([] { return false; }, time_ns - clock_.now_ns());
  if (time_ns > clock_.now_ns()) clock_.set_now_ns(time_ns);
}

}  // namespace gd2fs
