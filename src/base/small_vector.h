// SmallVector: a vector whose first N elements lie in itself, for lists that are short as a rule:
// they cost no allocation. Elements move when it grows and when it is moved. It begins at a
// multiple of 16, as every allocation does. One thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace gd2fs {

template <class T, size_t N>
class SmallVector {
  static_assert(std::is_nothrow_move_constructible_v<T>);

 public:
  SmallVector() = default;
  SmallVector(SmallVector&& other) noexcept { take(other); }
  SmallVector& operator=(SmallVector&& other) noexcept {
    if (this == &other) return *this;
    free_all();
    take(other);
    return *this;
  }
  SmallVector(const SmallVector&) = delete;
  SmallVector& operator=(const SmallVector&) = delete;
  SmallVector& operator=(std::initializer_list<T> elements) {
    assign(elements.begin(), elements.size());
    return *this;
  }
  ~SmallVector() { free_all(); }

  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  T* data() { return data_; }
  const T* data() const { return data_; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }
  T& operator[](size_t index) { return data_[index]; }
  const T& operator[](size_t index) const { return data_[index]; }
  T& front() { return data_[0]; }
  const T& front() const { return data_[0]; }
  T& back() { return data_[size_ - 1]; }
  const T& back() const { return data_[size_ - 1]; }

  template <class... Arguments>
  T& emplace_back(Arguments&&... arguments) {
    if (size_ == capacity_) grow(2 * capacity_);
    T* const element = new (data_ + size_) T{std::forward<Arguments>(arguments)...};
    ++size_;
    return *element;
  }
  void push_back(T element) { emplace_back(std::move(element)); }
  void pop_back() { std::destroy_at(data_ + --size_); }
  // Forgets those behind the first `size`.
  void shrink(size_t size) {
    while (size_ > size) pop_back();
  }
  void clear() { shrink(0); }
  size_t capacity() const { return capacity_; }
  void assign(const T* from, size_t count) {
    clear();
    append(from, count);
  }
  void append(const T* from, size_t count) {
    if (size_ + count > capacity_) grow(std::max(size_ + count, 2 * capacity_));
    std::uninitialized_copy_n(from, count, data_ + size_);
    size_ += count;
  }

 private:
  bool on_heap() const { return capacity_ > N; }
  T* own_memory() { return reinterpret_cast<T*>(own_); }
  void grow(size_t capacity) {
    T* const larger = std::allocator<T>().allocate(capacity);
    std::uninitialized_move_n(data_, size_, larger);
    std::destroy_n(data_, size_);
    if (on_heap()) std::allocator<T>().deallocate(data_, capacity_);
    data_ = larger;
    capacity_ = capacity;
  }
  void free_all() {
    std::destroy_n(data_, size_);
    if (on_heap()) std::allocator<T>().deallocate(data_, capacity_);
    data_ = own_memory();
    capacity_ = N;
    size_ = 0;
  }
  // What the other has; this one is empty.
  void take(SmallVector& other) {
    if (other.on_heap()) {
      data_ = std::exchange(other.data_, other.own_memory());
      capacity_ = std::exchange(other.capacity_, N);
      size_ = std::exchange(other.size_, 0);
      return;
    }
    std::uninitialized_move_n(other.data_, other.size_, data_);
    size_ = other.size_;
    other.clear();
  }

  T* data_ = own_memory();
  size_t size_ = 0;
  size_t capacity_ = N;
  alignas(std::max(alignof(T), alignof(std::max_align_t))) std::byte own_[N * sizeof(T)];
};

}  // namespace gd2fs
