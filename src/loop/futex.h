// Futex: sleep until a 32-bit word changes. The one primitive under LoopThread; everything else
// should wait through a Loop. Linux only. Any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace gd2fs {

enum class FutexEnd : uint8_t { changed, deadline, interrupted };

// Sleeps while `word` holds `expected`, at the latest until `deadline_ns` (CLOCK_MONOTONIC, the
// time of RealClock; UINT64_MAX: no limit). `changed` may be spurious: look at the word again.
FutexEnd futex_wait(std::atomic<uint32_t>& word, uint32_t expected, uint64_t deadline_ns);
// Only the address is used, so the word may be gone already.
void futex_wake_one(std::atomic<uint32_t>& word);
void futex_wake_all(std::atomic<uint32_t>& word);

}  // namespace gd2fs
