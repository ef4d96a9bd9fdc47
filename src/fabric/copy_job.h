// CopyJob: memory copied by a SlicePool.
#pragma once

#include <vector>

#include "loop/slice_pool.h"

namespace gd2fs {

class CopyJob : public SliceJob {
 public:
  struct Part {
    std::byte* to;
    const std::byte* from;
    size_t length_bytes;
  };
  std::vector<Part> parts;  // length_bytes is of all of them
  // Of more bytes than a cache keeps: they are written around it, which spares reading what they
  // replace (a fifth of the time on the machine in docs/performance.md).
  bool around_cache = false;

  void make(uint64_t begin, uint64_t end) override;
};

}  // namespace gd2fs
