// Pool: a fixed number of objects made once, with a name for its limit.
//
// `Pool<ReadOp> ops("read_ops_max", 256)`: get() answers nullptr for the 257th, and the caller says
// `busy`. Objects are reused without being destroyed; the caller resets what it needs. One thread.
#pragma once

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
      : limit_name_(limit_name), objects_max_(objects_max), objects_(new T[objects_max]) {
    free_.reserve(objects_max);
    for (size_t i = objects_max; i > 0; --i) free_.push_back(&objects_[i - 1]);
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  T* get() {
    if (free_.empty()) return nullptr;
    T* object = free_.back();
    free_.pop_back();
    return object;
  }
  void put(T* object) {
    CHECK(object >= objects_.get() && object < objects_.get() + objects_max_);
    CHECK(free_.size() < objects_max_);
    free_.push_back(object);
  }
  size_t in_use() const { return objects_max_ - free_.size(); }
  size_t objects_max() const { return objects_max_; }
  std::string_view limit_name() const { return limit_name_; }

 private:
  std::string_view limit_name_;
  size_t objects_max_;
  std::unique_ptr<T[]> objects_;
  std::vector<T*> free_;
};

}  // namespace gd2fs
