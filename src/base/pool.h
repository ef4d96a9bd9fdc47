// Pool: a bounded number of objects, with a name for the bound.
//
// `Pool<ReadOp> ops("read_ops_max", 256)`: get() answers nullptr for the 257th, and the caller says
// `busy`. Objects are made in batches when they are first needed, and reused without being
// destroyed; the caller resets what it needs. One thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "base/check.h"

namespace gd2fs {

template <class T>
class Pool {
 public:
  Pool(std::string_view limit_name, size_t objects_max)
      : limit_name_(limit_name), objects_max_(objects_max) {}
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  T* get() {
    if (free_.empty() && made_ < objects_max_) make_batch();
    if (free_.empty()) return nullptr;
    T* object = free_.back();
    free_.pop_back();
    return object;
  }
  void put(T* object) {
    CHECK(object != nullptr && free_.size() < made_);
    free_.push_back(object);
  }
  size_t in_use() const { return made_ - free_.size(); }
  size_t objects_max() const { return objects_max_; }
  std::string_view limit_name() const { return limit_name_; }

 private:
  static constexpr size_t kBatch = 32;
  void make_batch() {
    const size_t count = std::min(kBatch, objects_max_ - made_);
    batches_.emplace_back(new T[count]);
    made_ += count;
    free_.reserve(made_);
    for (size_t i = count; i > 0; --i) free_.push_back(&batches_.back()[i - 1]);
  }

  std::string_view limit_name_;
  size_t objects_max_;
  size_t made_ = 0;
  std::vector<std::unique_ptr<T[]>> batches_;
  std::vector<T*> free_;
};

}  // namespace gd2fs
