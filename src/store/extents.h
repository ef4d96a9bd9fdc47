// Which extents show in a chunk: the rule "for each block, the extent with the highest version that
// covers it", as pure functions over a chunk's few extents (at most kExtentsPerChunkMax).
#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <vector>

namespace gd2fs {

inline constexpr size_t kExtentsPerChunkMax = 64;
// Past this many a chunk is worth rewriting as one extent when the drive is idle.
inline constexpr size_t kExtentsPerChunkWanted = 16;

// Where an extent lies: `file` is the drive's table position of the data file, not its number.
struct SlotAddress {
  uint16_t drive = 0;
  uint16_t file = 0;
  uint16_t slot = 0;
  friend auto operator<=>(const SlotAddress&, const SlotAddress&) = default;
};

struct Extent {
  uint64_t version = 0;
  SlotAddress at;
  uint16_t first_block = 0;
  uint16_t blocks = 0;
  uint32_t end_block() const { return uint32_t{first_block} + blocks; }
  friend bool operator==(const Extent&, const Extent&) = default;
};

// A run of blocks that one extent shows, or a hole.
struct VisibleRun {
  static constexpr int kHole = -1;
  uint32_t first_block = 0;
  uint32_t blocks = 0;
  int extent = kHole;  // index into the extents asked about
  friend bool operator==(const VisibleRun&, const VisibleRun&) = default;
};

// The runs of [first_block, first_block + blocks), in order and without gaps. Extents in any order.
std::vector<VisibleRun> visible_runs(std::span<const Extent> extents, uint32_t first_block,
                                     uint32_t blocks);
// The indexes of extents that show in no block.
std::vector<int> shadowed_extents(std::span<const Extent> extents);

}  // namespace gd2fs
