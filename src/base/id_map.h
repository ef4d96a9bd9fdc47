// IdMap, IdTable: what is known by a 64-bit number, the requests of a session for example.
//
// IdMap keeps small values, pointers mostly, in an open-addressed table: a look-up is one
// multiplication and a look or two. A value's place changes with every insert and erase. IdTable
// keeps objects, which stay where they are until they are erased and are then used again: whoever
// gets one resets what it needs. Both grow by doubling, and allocate nothing for an entry once they
// have had as many. 0 is nobody's number. One thread.
#pragma once

#include <bit>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"

namespace gd2fs {

template <class V>
class IdMap {
 public:
  IdMap() = default;
  IdMap(const IdMap&) = delete;
  IdMap& operator=(const IdMap&) = delete;
  // nullptr: there is none such. The last one that was found may be changed in place.
  V* find(uint64_t id) {
    const size_t at = place_of(id);
    return at == kNowhere ? nullptr : &entries_[at].value;
  }
  const V* find(uint64_t id) const {
    const size_t at = place_of(id);
    return at == kNowhere ? nullptr : &entries_[at].value;
  }
  bool contains(uint64_t id) const { return place_of(id) != kNowhere; }
  // False: there is one already, and it stays.
  bool insert(uint64_t id, V value) {
    CHECK(id != 0);
    if (2 * (size_ + 1) > mask_ + 1) grow();
    size_t at = home_of(id);
    for (; entries_[at].id != 0; at = after(at)) {
      if (entries_[at].id == id) return false;
    }
    entries_[at] = {id, std::move(value)};
    ++size_;
    return true;
  }
  // False: there was none such.
  bool erase(uint64_t id) { return take(id).has_value(); }
  // Erases it: what it was, if there was one.
  std::optional<V> take(uint64_t id) {
    size_t gap = place_of(id);
    if (gap == kNowhere) return std::nullopt;
    std::optional<V> taken(std::move(entries_[gap].value));
    // A search ends at the first gap: those behind that it would hide move up.
    for (size_t at = after(gap); entries_[at].id != 0; at = after(at)) {
      const size_t home = home_of(entries_[at].id);
      if (((at - home) & mask_) < ((at - gap) & mask_)) continue;
      entries_[gap] = std::move(entries_[at]);
      gap = at;
    }
    entries_[gap] = Entry();
    --size_;
    return taken;
  }
  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  void clear() {
    entries_.clear();
    mask_ = SIZE_MAX;
    size_ = 0;
  }
  // Some value; nullptr: there is none. Takes as long as the table is.
  V* any() {
    for (Entry& entry : entries_) {
      if (entry.id != 0) return &entry.value;
    }
    return nullptr;
  }
  // `visit(id, value)` in no order; it may not change the map.
  template <class Visit>
  void for_each(Visit visit) {
    for (Entry& entry : entries_) {
      if (entry.id != 0) visit(entry.id, entry.value);
    }
  }

 private:
  struct Entry {
    uint64_t id = 0;  // 0: free
    V value{};
  };
  static constexpr size_t kNowhere = SIZE_MAX;
  static constexpr size_t kEntriesMin = 16;

  size_t after(size_t at) const { return (at + 1) & mask_; }
  // Neighbouring numbers come to lie far apart.
  size_t home_of(uint64_t id) const { return (id * 0x9E3779B97F4A7C15) >> shift_; }
  size_t place_of(uint64_t id) const {
    if (size_ == 0 || id == 0) return kNowhere;
    for (size_t at = home_of(id); entries_[at].id != 0; at = after(at)) {
      if (entries_[at].id == id) return at;
    }
    return kNowhere;
  }
  void grow() {
    std::vector<Entry> old(entries_.empty() ? kEntriesMin : 2 * entries_.size());
    old.swap(entries_);
    mask_ = entries_.size() - 1;
    shift_ = 64 - std::countr_zero(entries_.size());
    size_ = 0;
    for (Entry& entry : old) {
      if (entry.id != 0) insert(entry.id, std::move(entry.value));
    }
  }

  std::vector<Entry> entries_;  // a power of two of them, at least half of them free
  size_t mask_ = SIZE_MAX;      // their number less one
  size_t size_ = 0;
  int shift_ = 0;
};

template <class T>
class IdTable {
 public:
  T* find(uint64_t id) {
    T* const* const found = objects_.find(id);
    return found == nullptr ? nullptr : *found;
  }
  const T* find(uint64_t id) const {
    T* const* const found = objects_.find(id);
    return found == nullptr ? nullptr : *found;
  }
  bool contains(uint64_t id) const { return objects_.contains(id); }
  // An object as it was left by whom it served last; nullptr: there is one with this number.
  T* insert(uint64_t id) {
    if (free_.empty()) {
      made_.push_back(std::make_unique<T>());
      free_.push_back(made_.back().get());
    }
    T* const object = free_.back();
    if (!objects_.insert(id, object)) return nullptr;
    free_.pop_back();
    return object;
  }
  void erase(uint64_t id) {
    if (const std::optional<T*> object = objects_.take(id)) free_.push_back(*object);
  }
  bool empty() const { return objects_.empty(); }
  size_t size() const { return objects_.size(); }
  void clear() {
    objects_.clear();
    free_.clear();
    made_.clear();
  }
  template <class Visit>
  void for_each(Visit visit) {
    objects_.for_each([&](uint64_t id, T* object) { visit(id, *object); });
  }

 private:
  IdMap<T*> objects_;
  std::vector<T*> free_;
  std::vector<std::unique_ptr<T>> made_;
};

}  // namespace gd2fs
