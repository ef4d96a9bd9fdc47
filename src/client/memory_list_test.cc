#include "client/memory_list.h"

#include <gtest/gtest.h>

namespace gd2fs::client {
namespace {

TEST(MemoryList, neighbours_become_one_segment_when_added_and_when_sliced) {
  std::byte memory[400];
  MemoryList list;
  list.add(memory, 100);
  list.add(memory + 100, 100);
  list.add(memory + 300, 100);
  MemorySegments out;
  for (uint64_t at = 0; at < 300; at += 50) list.slice(at, 50, &out);
  ASSERT_EQ(out.size(), 2u);
  EXPECT_EQ(out[0].data, memory);
  EXPECT_EQ(out[0].length_bytes, 200u);
  EXPECT_EQ(out[1].data, memory + 300);
  EXPECT_EQ(out[1].length_bytes, 100u);
}

TEST(MemoryList, two_registrations_and_two_gpus_stay_apart) {
  std::byte memory[400];
  MemoryList list;
  list.add(memory, 100, 1, 1);
  list.add(memory + 100, 100, 1, 2);
  list.add(memory + 200, 100, 2, 2);
  MemorySegments out;
  list.slice(0, 150, &out);
  list.slice(150, 150, &out);
  ASSERT_EQ(out.size(), 3u);
  EXPECT_EQ(out[1].length_bytes, 100u);
  EXPECT_EQ(out[1].region, 2u);
  EXPECT_EQ(out[2].target, 2u);
}

TEST(MemoryList, a_hole_may_cross_segments_and_not_the_end) {
  std::byte memory[10];
  std::ranges::fill(memory, std::byte{7});
  const MemorySegment segments[] = {{memory, 4}, {memory + 5, 5}};
  EXPECT_TRUE(zero_range(segments, 3, 2));
  const std::byte expected[] = {std::byte{7}, std::byte{7}, std::byte{7}, std::byte{0},
                                std::byte{7}, std::byte{0}, std::byte{7}};
  EXPECT_TRUE(std::equal(std::begin(expected), std::end(expected), memory));
  EXPECT_FALSE(zero_range(segments, 8, 2));
}

}  // namespace
}  // namespace gd2fs::client
