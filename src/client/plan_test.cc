#include "client/plan.h"

#include <cerrno>
#include <set>

#include <gtest/gtest.h>

#include "base/random.h"
#include "wire/placement.h"

namespace gd2fs::client {
namespace {

Plan plan_all(const PlanLayout& layout, uint64_t offset, uint64_t length) {
  Plan batches;
  uint64_t planned = 0;
  while (planned < length) {
    const uint64_t before = planned;
    EXPECT_TRUE(plan_stretch(layout, offset, length, &planned, &batches).ok());
    EXPECT_GT(planned, before);
    if (planned <= before) break;
  }
  return batches;
}

TEST(Plan, every_byte_is_in_exactly_one_piece_whatever_the_layout) {
  const uint64_t seed = 7;
  Random random(seed);
  for (int round = 0; round < 2000; ++round) {
    PlanLayout layout;
    layout.inode = random.next();
    layout.chunk_log2 = static_cast<uint8_t>(random.between(16, 26));
    layout.group_count = static_cast<uint32_t>(random.between(1, 9));
    const uint64_t chunk_bytes = uint64_t{1} << layout.chunk_log2;
    const uint64_t offset = random.below(uint64_t{1} << random.between(1, 44));
    const uint64_t length = random.below(uint64_t{1} << random.between(1, 29)) + 1;
    const auto batches = plan_all(layout, offset, length);
    std::vector<std::pair<uint64_t, uint64_t>> covered;
    std::set<uint32_t> chunks;
    for (const PlannedBatch& batch : batches) {
      uint64_t batch_bytes = 0;
      ASSERT_FALSE(batch.pieces.empty());
      ASSERT_LE(batch.pieces.size(), kPiecesMax);
      for (const Piece& piece : batch.pieces) {
        ASSERT_GT(piece.length_bytes, 0u);
        ASSERT_LE(uint64_t{piece.offset_bytes} + piece.length_bytes, chunk_bytes);
        ASSERT_EQ(piece.chunk * chunk_bytes + piece.offset_bytes, offset + piece.request_offset);
        ASSERT_EQ(group_of(layout.inode, piece.chunk, layout.group_count), batch.group);
        ASSERT_TRUE(chunks.insert(piece.chunk).second) << "seed " << seed << " round " << round;
        covered.emplace_back(piece.request_offset, piece.length_bytes);
        batch_bytes += piece.length_bytes;
      }
      ASSERT_EQ(batch_bytes, batch.length_bytes);
      ASSERT_TRUE(batch_bytes <= kBatchBytes || batch.pieces.size() == 1);
    }
    std::sort(covered.begin(), covered.end());
    uint64_t at = 0;
    for (const auto& [start, bytes] : covered) {
      ASSERT_EQ(start, at) << "seed " << seed << " round " << round;
      at += bytes;
    }
    ASSERT_EQ(at, length);
  }
}

TEST(Plan, a_small_read_is_one_batch_of_one_piece) {
  const auto batches = plan_all({.inode = 1, .chunk_log2 = 22, .group_count = 1}, 4096, 4096);
  ASSERT_EQ(batches.size(), 1u);
  ASSERT_EQ(batches[0].pieces.size(), 1u);
  EXPECT_EQ(batches[0].pieces[0].offset_bytes, 4096u);
}

TEST(Plan, the_short_way_plans_what_the_long_one_does_or_nothing) {
  const uint64_t seed = 8;
  Random random(seed);
  int short_ones = 0;
  for (int round = 0; round < 2000; ++round) {
    const PlanLayout layout{.inode = random.next(),
                            .chunk_log2 = static_cast<uint8_t>(random.between(16, 18)),
                            .group_count = static_cast<uint32_t>(random.between(1, 9))};
    const uint64_t offset = random.below(uint64_t{1} << random.between(1, 49));
    const uint64_t length = random.below(uint64_t{1} << random.between(1, 19));
    const uint64_t before = random.between(0, length);
    uint64_t planned = before;
    PlannedBatch whole;
    const bool is_short = plan_short(layout, offset, length, &planned, &whole);
    Plan batches;
    uint64_t planned_long = before;
    const bool fits = plan_stretch(layout, offset, length, &planned_long, &batches).ok();
    const bool expected = fits && batches.size() == 1 && batches[0].pieces.size() == 1;
    ASSERT_EQ(is_short, expected) << "seed " << seed << " round " << round;
    ASSERT_EQ(planned, is_short ? length : before);
    if (!is_short) continue;
    ++short_ones;
    const Piece& piece = whole.pieces.front();
    const Piece& same = batches[0].pieces.front();
    ASSERT_EQ(whole.pieces.size(), 1u);
    ASSERT_EQ(whole.group, batches[0].group);
    ASSERT_EQ(whole.length_bytes, batches[0].length_bytes);
    ASSERT_EQ(piece.request_offset, same.request_offset);
    ASSERT_EQ(piece.chunk, same.chunk);
    ASSERT_EQ(piece.offset_bytes, same.offset_bytes);
    ASSERT_EQ(piece.length_bytes, same.length_bytes);
  }
  EXPECT_GT(short_ones, 200);
}

TEST(Plan, a_big_read_of_one_group_streams_as_batches_of_8_mib) {
  const auto batches = plan_all({.inode = 1, .chunk_log2 = 22, .group_count = 1}, 0, 64 << 20);
  ASSERT_EQ(batches.size(), 8u);
  for (const auto& batch : batches) EXPECT_EQ(batch.length_bytes, kBatchBytes);
}

TEST(Plan, a_stretch_is_bounded_however_long_the_request) {
  Plan batches;
  uint64_t planned = 0;
  const PlanLayout layout{.inode = 1, .chunk_log2 = 16, .group_count = 4};
  ASSERT_TRUE(plan_stretch(layout, 0, uint64_t{1} << 47, &planned, &batches).ok());
  EXPECT_LE(batches.size(), 4u);
  EXPECT_LE(planned, 4 * kBatchBytes);
}

TEST(Plan, a_chunk_number_over_32_bits_is_refused) {
  Plan batches;
  uint64_t planned = 0;
  const PlanLayout layout{.inode = 1, .chunk_log2 = 16, .group_count = 1};
  const uint64_t end = uint64_t{1} << 48;
  EXPECT_TRUE(plan_stretch(layout, end - 1, 1, &planned, &batches).ok());
  planned = 0;
  EXPECT_EQ(plan_stretch(layout, end - 1, 2, &planned, &batches).errno_value(), EFBIG);
  planned = 0;
  EXPECT_EQ(plan_stretch(layout, end, 1, &planned, &batches).errno_value(), EFBIG);
}

}  // namespace
}  // namespace gd2fs::client
