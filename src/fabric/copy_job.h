// CopyJob: memory copied by a SlicePool.
#pragma once

#include <vector>

#include "loop/slice_pool.h"

namespace gd2fs {

// As memcpy does it for large sizes: what is written is not read before and not kept in the cache,
// which spares a fifth of the time where more is copied than a cache keeps (the machine in
// docs/performance.md).
void copy_around_cache(std::byte* to, const std::byte* from, size_t length_bytes);

class CopyJob : public SliceJob {
 public:
  struct Part {
    std::byte* to;
    const std::byte* from;
    size_t length_bytes;
  };
  std::vector<Part> parts;  // length_bytes is of all of them
  bool around_cache = false;

  void make(uint64_t begin, uint64_t end) override;
};

}  // namespace gd2fs
