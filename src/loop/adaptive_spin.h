// AdaptiveSpin: whether a loop with nothing to do should look again for some microseconds before it
// sleeps.
//
// Sleeping and being woken costs up to 60 us, so a loop whose next event comes within the spin
// window should look for it instead. But a spin that finds nothing burns a core that the peer may
// need, and one that gives up the core between two looks (sched_yield, for a peer on the same core)
// may lose it for a whole time slice. So: spin as long as spins find something; after two misses in
// a row, or one lost slice, stop, and start again only after a number of sleeps so short that a
// spin would have met their end. Each further miss doubles the number, each find halves it. An idle
// loop does not turn, so it never spins. docs/decisions/003-lent-loop.md has the measurements.
// Belongs to one loop.
#pragma once

#include <algorithm>
#include <cstdint>

namespace gd2fs {

// For loops that wait for another core.
inline void spin_pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class AdaptiveSpin {
 public:
  bool worthwhile() const { return misses_ < kMissesMax || short_sleeps_ >= short_sleeps_needed_; }
  // A spin that was meant to take window_ns took spun_ns.
  void spun(bool found_work, uint64_t spun_ns, uint64_t window_ns) {
    if (spun_ns > kLostSliceWindows * window_ns) {
      misses_ = kMissesMax;
      short_sleeps_ = 0;
      short_sleeps_needed_ = kShortSleepsMax;
    } else if (found_work) {
      misses_ = 0;
      short_sleeps_needed_ = std::max(short_sleeps_needed_ / 2, 1U);
    } else if (++misses_ >= kMissesMax) {
      misses_ = kMissesMax;
      short_sleeps_ = 0;
      short_sleeps_needed_ = std::min(2 * short_sleeps_needed_, kShortSleepsMax);
    }
  }
  // The loop had nothing to do for `idle_ns` (spin included), then there was work.
  void slept(uint64_t idle_ns, uint64_t window_ns) {
    // Twice the window: being woken takes about as long as the window itself.
    if (idle_ns <= 2 * window_ns && short_sleeps_ < kShortSleepsMax) ++short_sleeps_;
  }

 private:
  static constexpr uint32_t kMissesMax = 2;
  static constexpr uint32_t kShortSleepsMax = 1024;
  static constexpr uint64_t kLostSliceWindows = 4;
  uint32_t misses_ = 0;
  uint32_t short_sleeps_ = 0;
  uint32_t short_sleeps_needed_ = 1;
};

}  // namespace gd2fs
