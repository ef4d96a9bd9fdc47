#include "loop/futex.h"

#include <cerrno>
#include <climits>
#include <ctime>
#include <unistd.h>

#include <linux/futex.h>
#include <sys/syscall.h>

#include "loop/clock.h"

namespace gd2fs {

static_assert(sizeof(std::atomic<uint32_t>) == 4 && std::atomic<uint32_t>::is_always_lock_free);

FutexEnd futex_wait(std::atomic<uint32_t>& word, uint32_t expected, uint64_t deadline_ns) {
  timespec deadline{};
  if (deadline_ns != UINT64_MAX) {
    deadline.tv_sec = static_cast<time_t>(deadline_ns / kSecond);
    deadline.tv_nsec = static_cast<long>(deadline_ns % kSecond);
  }
  // The BITSET form takes an absolute time on the monotonic clock.
  const long rc = syscall(
      SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG,
      expected, deadline_ns == UINT64_MAX ? nullptr : &deadline, nullptr, FUTEX_BITSET_MATCH_ANY);
  if (rc == 0 || errno == EAGAIN) return FutexEnd::changed;
  return errno == ETIMEDOUT ? FutexEnd::deadline : FutexEnd::interrupted;
}

namespace {
void wake(std::atomic<uint32_t>& word, int threads) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE | FUTEX_PRIVATE_FLAG, threads,
          nullptr, nullptr, 0);
}
}  // namespace

void futex_wake_one(std::atomic<uint32_t>& word) {
  wake(word, 1);
}
void futex_wake_all(std::atomic<uint32_t>& word) {
  wake(word, INT_MAX);
}

}  // namespace gd2fs
