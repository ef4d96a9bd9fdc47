// RailSpeed: how fast a rail has lately been while it had bytes under way, so that bytes go where
// they will have arrived first. It forgets: a rail that was slow once is tried again. One loop.
#pragma once

#include <cmath>
#include <cstdint>

#include "loop/clock.h"

namespace gd2fs::client {

class RailSpeed {
 public:
  static constexpr uint64_t kForgetNs = 2 * kSecond;
  static constexpr uint64_t kMeasuredBytesMin = 4 << 20;  // shorter spans say more about latency

  // Bytes are under way from now on.
  void begin(uint64_t now_ns) {
    since_ns_ = now_ns;
    bytes_ = 0;
  }
  // So many have arrived; `more`: others are still under way.
  void arrived(uint64_t bytes, bool more, uint64_t now_ns) {
    bytes_ += bytes;
    if (bytes_ >= kMeasuredBytesMin && now_ns > since_ns_) {
      const double measured = static_cast<double>(now_ns - since_ns_) / static_cast<double>(bytes_);
      ns_per_byte_ = known(now_ns) ? (3 * ns_per_byte_ + measured) / 4 : measured;
      measured_ns_ = now_ns;
      begin(now_ns);
    }
    if (!more) bytes_ = 0;
  }
  // 0: not known (any more).
  double ns_per_byte(uint64_t now_ns) const { return known(now_ns) ? ns_per_byte_ : 0; }

 private:
  bool known(uint64_t now_ns) const {
    return ns_per_byte_ > 0 && now_ns - measured_ns_ < kForgetNs;
  }
  uint64_t since_ns_ = 0;
  uint64_t bytes_ = 0;
  double ns_per_byte_ = 0;
  uint64_t measured_ns_ = 0;
};

// How much longer than on the fastest rail a byte takes on this one, whole numbers only: rails of
// one kind scatter, and are to share.
inline uint64_t slowness(double ns_per_byte, double fastest_ns_per_byte) {
  if (ns_per_byte <= 0 || fastest_ns_per_byte <= 0) return 1;
  const double ratio = ns_per_byte / fastest_ns_per_byte;
  return ratio < 1.5 ? 1 : static_cast<uint64_t>(std::lround(ratio));
}

}  // namespace gd2fs::client
