#include "client/memory_list.h"

#include <algorithm>

namespace gd2fs::client {

void MemoryList::clear() {
  constexpr size_t kKeptMax = 64;  // of what one huge request needed
  if (segments_.capacity() > kKeptMax) {
    segments_ = decltype(segments_)();
    ends_ = decltype(ends_)();
  }
  segments_.clear();
  ends_.clear();
  first_target_ = 0;
}

void MemoryList::add(std::byte* data, uint64_t length_bytes, uint32_t target, uint32_t region) {
  if (length_bytes == 0) return;
  const uint64_t before = this->length_bytes();
  if (first_target_ == 0) first_target_ = target;
  MemorySegment* last = segments_.empty() ? nullptr : &segments_.back();
  if (last != nullptr && last->data + last->length_bytes == data && last->target == target &&
      last->region == region) {
    last->length_bytes += length_bytes;
    ends_.back() += length_bytes;
    return;
  }
  segments_.push_back({data, length_bytes, target, region});
  ends_.push_back(before + length_bytes);
}

void MemoryList::slice(uint64_t offset, uint64_t length_bytes, MemorySegments* out) const {
  CHECK(offset <= this->length_bytes() && length_bytes <= this->length_bytes() - offset);
  size_t at = 0;
  if (length_bytes > 0 && offset >= ends_.front()) {
    at = static_cast<size_t>(std::upper_bound(ends_.begin(), ends_.end(), offset) - ends_.begin());
  }
  while (length_bytes > 0) {
    const MemorySegment& segment = segments_[at];
    const uint64_t start = ends_[at] - segment.length_bytes;
    const uint64_t skip = offset - start;
    const uint64_t take = std::min(length_bytes, segment.length_bytes - skip);
    std::byte* const data = segment.data + skip;
    MemorySegment* last = out->empty() ? nullptr : &out->back();
    if (last != nullptr && last->data + last->length_bytes == data &&
        last->target == segment.target && last->region == segment.region) {
      last->length_bytes += take;
    } else {
      out->emplace_back(data, take, segment.target, segment.region);
    }
    offset += take;
    length_bytes -= take;
    ++at;
  }
}

bool zero_range(std::span<const MemorySegment> segments, uint64_t offset, uint64_t length_bytes) {
  for (const MemorySegment& segment : segments) {
    if (length_bytes == 0) return true;
    if (offset >= segment.length_bytes) {
      offset -= segment.length_bytes;
      continue;
    }
    const uint64_t take = std::min(length_bytes, segment.length_bytes - offset);
    std::memset(segment.data + offset, 0, take);
    offset = 0;
    length_bytes -= take;
  }
  return length_bytes == 0;
}

}  // namespace gd2fs::client
