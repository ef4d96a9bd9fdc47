#include "store/cache_replay.h"

#include <gtest/gtest.h>

namespace gd2fs {
namespace {

constexpr uint64_t kSlabBytes = 256 * kMiB;

TEST(CacheReplay, HitsAtLeastAsOftenAsLruOnAMixOfZipfAndScans) {
  for (const std::vector<uint32_t>& blocks :
       std::vector<std::vector<uint32_t>>{{1}, {16}, {1, 4, 16}}) {
    CacheReplay replay(kSlabBytes, 1);
    const CacheReplay::Result result =
        replay.play({.accesses = 50'000, .blocks = blocks, .scan_every = 10'000});
    EXPECT_GE(result.slab.value(), result.lru.value()) << blocks.size() << " sizes";
    EXPECT_GT(result.lru.value(), 0.1);
  }
}

TEST(CacheReplay, HitsAboutAsOftenAsLruWithoutScans) {
  CacheReplay replay(kSlabBytes, 2);
  const CacheReplay::Result result = replay.play({.accesses = 50'000, .scan_every = 0});
  EXPECT_GE(result.slab.value(), result.lru.value());
}

TEST(CacheReplay, OneScanOfAFileTwiceTheSlabLeavesWhatIsHot) {
  for (const std::vector<uint32_t>& sizes :
       std::vector<std::vector<uint32_t>>{{1}, {1, 4, 16}, {64}}) {
    CacheReplay replay(kSlabBytes, 3);
    const CacheReplay::Result result = replay.survive_scan(0.5, sizes, 64);
    EXPECT_GE(result.slab.value(), 0.95) << sizes.size() << " sizes from " << sizes.front();
    EXPECT_LT(result.lru.value(), 0.05);  // the scan is one that would flush
  }
}

// Its pages come back too late for the ghosts to remember them.
TEST(CacheReplay, NorDoesTheSameScanAgainAndAgain) {
  CacheReplay replay(kSlabBytes, 4);
  EXPECT_GE(replay.survive_scan(0.5, {4}, 64, 4).slab.value(), 0.95);
}

}  // namespace
}  // namespace gd2fs
