// SimClock: time that stands still until the simulator moves it. The monotonic side only grows; the
// wall side may be set to jump, as real ones do. One thread.
#pragma once

#include "base/check.h"
#include "loop/clock.h"

namespace gd2fs {

class SimClock final : public Clock {
 public:
  static constexpr uint64_t kWallStartUs = 1'750'000'000'000'000;  // some day in 2025

  uint64_t now_ns() override { return now_ns_; }
  uint64_t wall_us() override { return wall_us_ + now_ns_ / 1000; }

  void set_now_ns(uint64_t now_ns) {
    CHECK(now_ns >= now_ns_);
    now_ns_ = now_ns;
  }
  void advance_ns(uint64_t ns) { now_ns_ += ns; }
  void jump_wall_us(int64_t us) { wall_us_ += static_cast<uint64_t>(us); }

 private:
  uint64_t now_ns_ = kSecond;  // not 0, so that a forgotten "0 = never" is not always due
  uint64_t wall_us_ = kWallStartUs;
};

}  // namespace gd2fs
