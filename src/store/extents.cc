#include "store/extents.h"

#include <algorithm>
#include <array>

#include "store/format.h"

namespace gd2fs {
namespace {

// Paints blocks from the oldest extent to the newest; returns the owner of each block of the
// window.
void paint(std::span<const Extent> extents, uint32_t begin, uint32_t end, int16_t* owner) {
  std::array<uint16_t, kChunkBlocksMax> order;
  const size_t count = std::min<size_t>(extents.size(), order.size());
  for (size_t i = 0; i < count; ++i) order[i] = static_cast<uint16_t>(i);
  std::sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count),
            [&](uint16_t a, uint16_t b) { return extents[a].version < extents[b].version; });
  std::fill_n(owner, end - begin, static_cast<int16_t>(VisibleRun::kHole));
  for (size_t i = 0; i < count; ++i) {
    const Extent& extent = extents[order[i]];
    const uint32_t from = std::max<uint32_t>(extent.first_block, begin);
    const uint32_t to = std::min(extent.end_block(), end);
    for (uint32_t block = from; block < to; ++block) {
      owner[block - begin] = static_cast<int16_t>(order[i]);
    }
  }
}

}  // namespace

std::vector<VisibleRun> visible_runs(std::span<const Extent> extents, uint32_t first_block,
                                     uint32_t blocks) {
  std::vector<VisibleRun> runs;
  const uint32_t end = std::min(first_block + blocks, kChunkBlocksMax);
  if (first_block >= end) return runs;
  std::array<int16_t, kChunkBlocksMax> owner;
  paint(extents, first_block, end, owner.data());
  for (uint32_t block = first_block; block < end; ++block) {
    const int extent = owner[block - first_block];
    if (!runs.empty() && runs.back().extent == extent) {
      ++runs.back().blocks;
    } else {
      runs.push_back({.first_block = block, .blocks = 1, .extent = extent});
    }
  }
  return runs;
}

std::vector<int> shadowed_extents(std::span<const Extent> extents) {
  std::vector<int> shadowed;
  if (extents.size() < 2) return shadowed;
  std::array<int16_t, kChunkBlocksMax> owner;
  paint(extents, 0, kChunkBlocksMax, owner.data());
  std::vector<bool> shows(extents.size(), false);
  for (const int16_t extent : owner) {
    if (extent >= 0) shows[static_cast<size_t>(extent)] = true;
  }
  for (size_t i = 0; i < extents.size(); ++i) {
    if (!shows[i]) shadowed.push_back(static_cast<int>(i));
  }
  return shadowed;
}

}  // namespace gd2fs
