// Clock: the only way to learn the time. Real outside, simulated in sim/.
#pragma once

#include <cstdint>

namespace gd2fs {

inline constexpr uint64_t kUs = 1000;  // nanoseconds
inline constexpr uint64_t kMs = 1000 * kUs;
inline constexpr uint64_t kSecond = 1000 * kMs;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual uint64_t now_ns() = 0;   // monotonic; never goes back; any thread
  virtual uint64_t wall_us() = 0;  // UTC since 1970, for people and expiry times; may jump
};

class RealClock final : public Clock {
 public:
  uint64_t now_ns() override;   // CLOCK_MONOTONIC
  uint64_t wall_us() override;  // CLOCK_REALTIME
};

}  // namespace gd2fs
