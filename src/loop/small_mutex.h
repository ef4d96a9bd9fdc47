// SmallMutex: a mutex in one word, for locks that every small request takes several times: while
// nobody else wants it, it costs a tenth of std::mutex's 60 instructions. Whoever has to wait
// sleeps. For std::lock_guard; any thread.
#pragma once

#include "loop/futex.h"

namespace gd2fs {

class SmallMutex {
 public:
  SmallMutex() = default;
  SmallMutex(const SmallMutex&) = delete;
  SmallMutex& operator=(const SmallMutex&) = delete;

  void lock() {
    uint32_t state = kFree;
    if (!state_.compare_exchange_strong(state, kHeld, std::memory_order_acquire)) wait_and_lock();
  }
  void unlock() {
    if (state_.exchange(kFree, std::memory_order_release) == kWanted) futex_wake_one(state_);
  }

 private:
  static constexpr uint32_t kFree = 0;
  static constexpr uint32_t kHeld = 1;
  static constexpr uint32_t kWanted = 2;  // held, and somebody may sleep until it is free

  // Who slept cannot know whether others sleep, so it leaves kWanted behind.
  void wait_and_lock() {
    while (state_.exchange(kWanted, std::memory_order_acquire) != kFree) {
      futex_wait(state_, kWanted, UINT64_MAX);
    }
  }

  std::atomic<uint32_t> state_{kFree};
};

}  // namespace gd2fs
