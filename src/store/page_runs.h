// PageRuns: where the next page of a file that is being filled in order belongs, so that its
// neighbours in the file are its neighbours in memory: a GPU's copy engine and a client's mapping
// move one long run faster than many short ones. Only the streams that were seen last are known;
// what they reserve is a wish, not a right. Thread rule: the store's loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "wire/ids.h"

namespace gd2fs {

class PageRuns {
 public:
  static constexpr size_t kRunsMax = 64;
  static constexpr uint32_t kRunBlocks = 1024;  // 64 MiB

  struct Run {
    ChunkKey key;             // of the last page
    uint32_t next_block = 0;  // behind it, in that chunk
    uint32_t arena = 0;
    uint32_t next_unit = 0;  // behind it, in the arena
    uint32_t end_unit = 0;   // of what was reserved
  };

  // The run that these blocks go on with, or nullptr.
  Run* find(const ChunkKey& key, uint32_t first_block) {
    for (Run& run : runs_) {
      const bool same_chunk = run.key == key && run.next_block == first_block;
      const bool next_chunk =
          run.key.inode == key.inode && run.key.chunk + 1 == key.chunk && first_block == 0;
      if (same_chunk || next_chunk) return &run;
    }
    return nullptr;
  }
  // In place of the oldest when there are kRunsMax.
  void add(const Run& run) {
    if (runs_.size() < kRunsMax) {
      runs_.push_back(run);
      return;
    }
    runs_[oldest_] = run;
    oldest_ = (oldest_ + 1) % kRunsMax;
  }

 private:
  std::vector<Run> runs_;
  size_t oldest_ = 0;
};

}  // namespace gd2fs
