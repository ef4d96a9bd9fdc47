// Fifo: a queue in one block of memory, which is made when it is first needed and grows by
// doubling.
//
// Objects are made once and used again as they were left, so that one with a buffer of its own
// keeps it: whoever calls add() resets what it needs. A place changes only when add() or erase_if()
// is called. One thread.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "base/check.h"

namespace gd2fs {

template <class T>
class Fifo {
 public:
  Fifo() = default;
  Fifo(const Fifo&) = delete;
  Fifo& operator=(const Fifo&) = delete;
  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  T& front() { return (*this)[0]; }
  T& back() { return (*this)[size_ - 1]; }
  T& operator[](size_t index) {
    CHECK(index < size_);
    return objects_[(first_ + index) & (room_ - 1)];
  }
  // One more at the end, as it was left by whom it served last.
  T& add() {
    if (size_ == room_) grow();
    ++size_;
    return back();
  }
  void push_back(T object) { add() = std::move(object); }
  // One more in front of all.
  void push_front(T object) {
    if (size_ == room_) grow();
    first_ = (first_ - 1) & (room_ - 1);
    ++size_;
    front() = std::move(object);
  }
  void pop_front() {
    CHECK(size_ > 0);
    first_ = (first_ + 1) & (room_ - 1);
    --size_;
  }
  T take_front() {
    T object = std::move(front());
    pop_front();
    return object;
  }
  // Takes away those of which `drop(object)` is true, asked in order; the others keep theirs.
  template <class Drop>
  void erase_if(Drop drop) {
    size_t kept = 0;
    for (size_t i = 0; i < size_; ++i) {
      if (drop((*this)[i])) continue;
      if (kept != i) std::swap((*this)[kept], (*this)[i]);
      ++kept;
    }
    size_ = kept;
  }
  template <class Asked>
  bool any_of(Asked asked) {
    for (size_t i = 0; i < size_; ++i) {
      if (asked((*this)[i])) return true;
    }
    return false;
  }
  // Objects and memory go.
  void clear() {
    std::vector<T>().swap(objects_);
    room_ = first_ = size_ = 0;
  }

 private:
  static constexpr size_t kObjectsMin = 8;
  void grow() {
    std::vector<T> larger(room_ == 0 ? kObjectsMin : 2 * room_);
    for (size_t i = 0; i < size_; ++i) larger[i] = std::move((*this)[i]);
    objects_.swap(larger);
    room_ = objects_.size();
    first_ = 0;
  }

  std::vector<T> objects_;  // none, or a power of two of them
  size_t room_ = 0;         // how many: to ask the vector takes a division by the size of T
  size_t first_ = 0;
  size_t size_ = 0;
};

}  // namespace gd2fs
