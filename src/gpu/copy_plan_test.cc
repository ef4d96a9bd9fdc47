#include "gpu/copy_plan.h"

#include <gtest/gtest.h>

namespace gd2fs::cuda {
namespace {

std::byte* at(uint64_t address) {
  return reinterpret_cast<std::byte*>(address);  // NOLINT(performance-no-int-to-ptr)
}

GpuPiece piece(uint64_t host, uint64_t gpu, uint64_t length, uint32_t mapping = 1,
               uint32_t region = 1) {
  return {at(host), at(gpu), length, mapping, region};
}

TEST(CopyPlan, neighbours_on_both_sides_become_one_copy) {
  const CopyPlan plan = plan_copy({piece(0x1000, 0x9000, 100), piece(0x1064, 0x9064, 50)}, true);
  ASSERT_EQ(plan.engine.size(), 1u);
  EXPECT_EQ(plan.engine[0].length_bytes, 150u);
  EXPECT_TRUE(plan.tiles.empty());
}

TEST(CopyPlan, no_copy_crosses_a_registration_of_either_side) {
  EXPECT_EQ(
      plan_copy({piece(0x1000, 0x9000, 0x100), piece(0x1100, 0x9100, 8, 2)}, true).engine.size(),
      2u);
  EXPECT_EQ(
      plan_copy({piece(0x1000, 0x9000, 0x100), piece(0x1100, 0x9100, 8, 1, 2)}, true).engine.size(),
      2u);
  EXPECT_EQ(plan_copy({piece(0x1000, 0x9000, 0x100), piece(0x1108, 0x9100, 8)}, true).engine.size(),
            2u);
}

TEST(CopyPlan, many_short_pieces_go_by_the_kernel_in_tiles_and_long_ones_by_the_engine) {
  std::vector<GpuPiece> pieces;
  uint64_t bytes = 0;
  for (uint64_t i = 0; i < 10; ++i) {
    const uint64_t length = i == 4 ? kEngineMinBytes : 40'000 + i;
    pieces.push_back(piece(0x10000000 * (i + 1), 0x7000000000 + 0x10000000 * i, length));
    if (i != 4) bytes += length;
  }
  const CopyPlan plan = plan_copy(pieces, true);
  ASSERT_EQ(plan.engine.size(), 1u);
  EXPECT_EQ(plan.engine[0].host, pieces[4].host);
  EXPECT_EQ(plan.tiles.size(), 9u * 3);
  uint64_t cut = 0;
  for (const GpuPiece& tile : plan.tiles) {
    EXPECT_LE(tile.length_bytes, kTileBytes);
    EXPECT_GT(tile.length_bytes, 0u);
    cut += tile.length_bytes;
  }
  EXPECT_EQ(cut, bytes);
  EXPECT_EQ(plan.tiles[1].host, pieces[0].host + kTileBytes);
  EXPECT_EQ(plan.tiles[1].gpu, pieces[0].gpu + kTileBytes);
}

TEST(CopyPlan, without_a_kernel_all_goes_by_the_engine) {
  std::vector<GpuPiece> pieces;
  for (uint64_t i = 0; i < 10; ++i) pieces.push_back(piece(0x1000 * i, 0x900000 + 0x2000 * i, 10));
  EXPECT_EQ(plan_copy(pieces, false).engine.size(), 10u);
  EXPECT_TRUE(plan_copy({piece(1, 2, 0)}, false).engine.empty());
}

}  // namespace
}  // namespace gd2fs::cuda
