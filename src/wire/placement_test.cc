#include "wire/placement.h"

#include <cmath>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace gd2fs {
namespace {

constexpr uint64_t kInode = (uint64_t{3} << 48) | 17;

TEST(Placement, golden_values_never_change) {
  struct Golden {
    uint64_t inode;
    uint32_t chunk;
    uint32_t groups;
    uint32_t group;
  };
  const Golden golden[] = {
      {kInode, 0, 1, 0},
      {kInode, 5, 1, 0},
      {kInode, 0, 2, 1},
      {kInode, 1, 2, 0},
      {kInode, 2, 2, 1},
      {kInode, 0, 7, 0},
      {kInode, 6, 7, 6},
      {kInode, 7, 7, 1},
      {kInode, 8, 7, 2},
      {kInode, 1000000, 7, 1},
      {kInode + 1, 0, 7, 4},
      {kInode + 1, 0, 16, 3},
      {1, 0, 16, 14},
      {1, 15, 16, 13},
      {1, 4294967295, 16, 7},
      {0xffff000000000001, 3, 100, 52},
      {UINT64_MAX, 4294967295, 4294967295, 1460711815},
      {0xfffffffffffff, 12345, 1000, 194},
  };
  for (const Golden& g : golden) {
    EXPECT_EQ(group_of(g.inode, g.chunk, g.groups), g.group)
        << g.inode << " " << g.chunk << " " << g.groups;
  }
}

TEST(Placement, each_run_of_chunks_touches_every_group_once) {
  for (uint32_t groups : {1u, 2u, 3u, 7u, 16u, 100u}) {
    for (uint32_t run = 0; run < 20; ++run) {
      std::set<uint32_t> seen;
      for (uint32_t i = 0; i < groups; ++i) {
        const uint32_t group = group_of(kInode + run, run * groups + i, groups);
        EXPECT_LT(group, groups);
        seen.insert(group);
      }
      EXPECT_EQ(seen.size(), groups);
    }
  }
}

// Chi-squared with g - 1 degrees of freedom: mean g - 1, deviation sqrt(2 (g - 1)); six deviations
// would be chance once in a billion, and the inputs are fixed.
double chi_squared(const std::vector<uint32_t>& counts, double expected) {
  double sum = 0;
  for (uint32_t count : counts) sum += (count - expected) * (count - expected) / expected;
  return sum;
}

TEST(Placement, files_of_one_chunk_spread_evenly) {
  for (uint32_t groups : {2u, 5u, 16u, 60u}) {
    std::vector<uint32_t> counts(groups);
    constexpr uint32_t kFiles = 60000;
    for (uint64_t i = 0; i < kFiles; ++i) ++counts[group_of(kInode + i, 0, groups)];
    const double freedom = groups - 1;
    EXPECT_LT(chi_squared(counts, double{kFiles} / groups), freedom + 6 * std::sqrt(2 * freedom));
  }
}

TEST(Placement, a_stride_of_the_group_count_does_not_meet_at_one_group) {
  constexpr uint32_t kGroups = 8;
  std::vector<uint32_t> counts(kGroups);
  constexpr uint32_t kRuns = 8000;
  for (uint32_t run = 0; run < kRuns; ++run) ++counts[group_of(kInode, run * kGroups, kGroups)];
  EXPECT_LT(chi_squared(counts, double{kRuns} / kGroups), 7 + 6 * std::sqrt(14.0));
}

}  // namespace
}  // namespace gd2fs
