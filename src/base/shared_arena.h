// SharedArena: slab memory of one cluster that the cluster's clients on this host may map, read
// only, together with a table that tells which page lies where.
//
// The table has one word per kGenerationUnitBytes of the arena: the generation of the page that
// lies there, 0 for none. A page's generation is never used again. The owner stores 0 before a
// page's memory is used for anything else (set_generation), so whoever copied bytes of
// generation g and then still finds g in the table (after a fence: still_there) has copied these
// bytes and no others. That is the whole protocol; nobody waits for anybody.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace gd2fs {

inline constexpr uint64_t kGenerationUnitBytes = 64 * 1024;

using Generation = std::atomic<uint64_t>;
static_assert(Generation::is_always_lock_free && sizeof(Generation) == 8);

struct SharedArena : std::enable_shared_from_this<SharedArena> {
  uint32_t id = 0;       // of this process; never used again
  uint16_t cluster = 0;  // whose bytes lie in it
  int fd = -1;           // sealed: a client can map it read-only and nothing else
  int generations_fd = -1;
  uint64_t length_bytes = 0;
};

// g++ has no fences under the thread sanitizer, and its runtime orders nothing by them.
inline void fence(std::memory_order order) {
#if defined(__SANITIZE_THREAD__)
  std::atomic_signal_fence(order);
#else
  std::atomic_thread_fence(order);
#endif
}

// The owner's side: units [first, first + count) hold a new page, or nothing any more.
inline void set_generation(Generation* table, uint32_t first, uint32_t count, uint64_t generation) {
  for (uint32_t unit = first; unit < first + count; ++unit) {
    table[unit].store(generation, std::memory_order_release);
  }
  // What is written to the memory from here on comes after.
  fence(std::memory_order_seq_cst);
}

// The reader's side, after the copy.
inline bool still_there(const Generation& unit, uint64_t generation) {
  fence(std::memory_order_acquire);
  return unit.load(std::memory_order_relaxed) == generation;
}

}  // namespace gd2fs
