// MemoryList: a request's SGEs as one run of bytes that can be sliced by offset. Any thread.
#pragma once

#include <vector>

#include "fabric/fabric.h"

namespace gd2fs::client {

class MemoryList {
 public:
  void clear();
  // `target` and `region` as in MemorySegment, of GPU memory.
  void add(std::byte* data, uint64_t length_bytes, uint32_t target = 0, uint32_t region = 0);
  // Of the first GPU memory in it; 0: there is none.
  uint32_t first_target() const { return first_target_; }
  uint64_t length_bytes() const { return ends_.empty() ? 0 : ends_.back(); }
  // Appends the segments of [offset, offset + length), which lies within length_bytes(). A
  // neighbour of the last one there becomes part of it.
  void slice(uint64_t offset, uint64_t length_bytes, MemorySegments* out) const;

 private:
  std::vector<MemorySegment> segments_;  // none is empty
  std::vector<uint64_t> ends_;           // ends_[i]: bytes up to and with segment i
  uint32_t first_target_ = 0;
};

// Zeros [offset, offset + length) of a list of segments; false if that is not inside.
bool zero_range(std::span<const MemorySegment> segments, uint64_t offset, uint64_t length_bytes);

}  // namespace gd2fs::client
