// HandleTable: objects that the C interface names by opaque pointers it never dereferences.
//
// A handle is {generation, index}, so a stale or invented one is found out (nullptr, never a crash)
// in constant time. Users pin an entry while they need its value; whoever closes an entry keeps new
// users out and learns when the last pin is gone. One 64-bit word per entry holds all of that:
// generation, a closing bit, the count of pins. Any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/check.h"

namespace gd2fs::client {

template <class T>
class HandleTable {
 public:
  using Handle = uint64_t;  // 0 is none
  static constexpr uint32_t kEntriesMax = 1 << 20;

  explicit HandleTable(uint32_t entries_max) : entries_max_(entries_max) {
    CHECK(entries_max <= kEntriesMax);
  }
  ~HandleTable() {
    for (auto& block : blocks_) delete[] block.load(std::memory_order_relaxed);
  }
  HandleTable(const HandleTable&) = delete;
  HandleTable& operator=(const HandleTable&) = delete;

  // 0 when entries_max are in use.
  Handle insert(T value) {
    std::lock_guard lock(mutex_);
    uint32_t index;
    if (!free_.empty()) {
      index = free_.back();
      free_.pop_back();
    } else if (used_ < entries_max_) {
      index = used_++;
      auto& block = blocks_[index / kBlockEntries];
      if (block.load(std::memory_order_relaxed) == nullptr) {
        block.store(new Entry[kBlockEntries], std::memory_order_release);
      }
    } else {
      return 0;
    }
    Entry& entry = *entry_at(index);
    entry.value = std::move(value);
    const uint64_t generation = (entry.word.load(std::memory_order_relaxed) >> 33) + 1;
    entry.word.store(generation << 33, std::memory_order_release);
    entry.live = true;
    return generation << kIndexBits | index;
  }

  // The value, kept until unpin(); nullptr if the handle is not open.
  T* pin(Handle handle) {
    Entry* entry = entry_of(handle);
    if (entry == nullptr) return nullptr;
    const uint64_t generation = handle >> kIndexBits;
    uint64_t word = entry->word.load(std::memory_order_acquire);
    do {
      if (word >> 33 != generation || (word & kClosing) != 0) return nullptr;
    } while (!entry->word.compare_exchange_weak(word, word + 1, std::memory_order_acq_rel));
    return &entry->value;
  }
  // True: the entry is closing and this was its last pin.
  bool unpin(Handle handle) {
    const uint64_t before = entry_of(handle)->word.fetch_sub(1, std::memory_order_acq_rel);
    CHECK((before & kPinsMask) > 0);
    return (before & kClosing) != 0 && (before & kPinsMask) == 1;
  }

  // Keeps new pins out. False if it was not open.
  bool close(Handle handle) {
    Entry* entry = entry_of(handle);
    if (entry == nullptr) return false;
    uint64_t word = entry->word.load(std::memory_order_acquire);
    do {
      if (word >> 33 != handle >> kIndexBits || (word & kClosing) != 0) return false;
    } while (!entry->word.compare_exchange_weak(word, word | kClosing, std::memory_order_acq_rel));
    return true;
  }
  // The handle is of this table and was open once: it is closing or gone.
  bool was_open(Handle handle) {
    Entry* entry = entry_of(handle);
    if (entry == nullptr || handle >> kIndexBits == 0) return false;
    const uint64_t word = entry->word.load(std::memory_order_acquire);
    return word >> 33 > handle >> kIndexBits ||
           (word >> 33 == handle >> kIndexBits && (word & kClosing) != 0);
  }
  bool closing(Handle handle) { return (word(handle) & kClosing) != 0; }
  uint32_t pins(Handle handle) { return static_cast<uint32_t>(word(handle) & kPinsMask); }
  // Closed by this handle, without pins, and not used again since.
  bool drained(Handle handle) { return word(handle) == ((handle >> kIndexBits) << 33 | kClosing); }
  // The value of an entry that the caller has pinned or closed.
  T& value_of(Handle handle) { return entry_of(handle)->value; }
  // Forgets a closed entry without pins; the handle is never valid again.
  void release(Handle handle) {
    std::lock_guard lock(mutex_);
    Entry& entry = *entry_of(handle);
    CHECK((entry.word.load() & kClosing) != 0 && (entry.word.load() & kPinsMask) == 0);
    entry.value = T();
    entry.live = false;
    free_.push_back(static_cast<uint32_t>(handle & kIndexMask));
  }

  // Calls `visit(handle, value)` for every entry that is not released, with the table locked.
  template <class Visit>
  void for_each(Visit visit) {
    std::lock_guard lock(mutex_);
    for_each_locked(visit);
  }
  // For the handlers of fork(), which hold the lock across it.
  template <class Visit>
  void for_each_locked(Visit visit) {
    for (uint32_t index = 0; index < used_; ++index) {
      Entry& entry = *entry_at(index);
      if (!entry.live) continue;
      visit(entry.word.load(std::memory_order_acquire) >> 33 << kIndexBits | index, entry.value);
    }
  }
  std::mutex& mutex() { return mutex_; }

 private:
  static constexpr uint32_t kIndexBits = 20;
  static constexpr uint64_t kIndexMask = (1 << kIndexBits) - 1;
  static constexpr uint32_t kBlockEntries = 1024;
  static constexpr uint64_t kClosing = uint64_t{1} << 32;
  static constexpr uint64_t kPinsMask = kClosing - 1;

  struct Entry {
    std::atomic<uint64_t> word{kClosing};  // generation 0, closing: opens nothing
    T value{};
    bool live = false;
  };

  Entry* entry_at(uint32_t index) {
    Entry* block = blocks_[index / kBlockEntries].load(std::memory_order_acquire);
    return block == nullptr ? nullptr : block + index % kBlockEntries;
  }
  Entry* entry_of(Handle handle) { return entry_at(static_cast<uint32_t>(handle & kIndexMask)); }
  uint64_t word(Handle handle) { return entry_of(handle)->word.load(std::memory_order_acquire); }

  const uint32_t entries_max_;
  std::mutex mutex_;  // guards free_, used_ and `live`
  std::vector<uint32_t> free_;
  uint32_t used_ = 0;
  std::array<std::atomic<Entry*>, kEntriesMax / kBlockEntries> blocks_{};
};

}  // namespace gd2fs::client
