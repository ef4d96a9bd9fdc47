#include "client/layout.h"

#include <gtest/gtest.h>

namespace gd2fs::client {
namespace {

Layout layout(uint64_t asked, uint64_t generation, bool may_write, uint64_t size_bytes) {
  Layout out;
  out.inode = 7;
  out.generation = generation;
  out.size_bytes = size_bytes;
  out.type = FileType::file;
  out.chunk_log2 = 16;
  out.may_write = may_write;
  out.capability = {std::byte{may_write ? uint8_t{1} : uint8_t{0}}};
  out.expires_ns = 1000;
  out.asked = asked;
  return out;
}

TEST(LayoutCache, an_answer_to_a_reader_leaves_a_writer_its_right) {
  LayoutCache cache;
  const LayoutRef writer = cache.put("/a", layout(1, 5, true, 100), 10);
  const uint64_t number = writer->capability_number;
  const LayoutRef reader = cache.put("/a", layout(2, 5, false, 300), 20);
  EXPECT_EQ(reader, writer);
  EXPECT_TRUE(writer->may_write);
  EXPECT_EQ(writer->capability, std::vector<std::byte>{std::byte{1}});
  EXPECT_EQ(writer->capability_number, number);
  EXPECT_EQ(writer->size_bytes, 300u);
  EXPECT_EQ(cache.find("/a", true, 30), writer);
}

TEST(LayoutCache, an_answer_to_a_reader_of_another_generation_stands_beside_a_writer) {
  LayoutCache cache;
  const LayoutRef writer = cache.put("/a", layout(1, 5, true, 100), 10);
  const LayoutRef reader = cache.put("/a", layout(2, 6, false, 0), 20);
  EXPECT_NE(reader, writer);
  EXPECT_TRUE(writer->may_write);
  EXPECT_EQ(writer->generation, 5u);
  EXPECT_EQ(reader->generation, 6u);
  EXPECT_EQ(cache.find("/a", true, 30), nullptr);
  EXPECT_EQ(cache.find("/a", false, 30), reader);
}

TEST(LayoutCache, a_right_to_write_that_has_expired_is_not_kept) {
  LayoutCache cache;
  const LayoutRef writer = cache.put("/a", layout(1, 5, true, 100), 10);
  Layout fresh = layout(2, 5, false, 100);
  fresh.expires_ns = 5000;
  const LayoutRef reader = cache.put("/a", std::move(fresh), 1000);
  EXPECT_NE(reader, writer);
  EXPECT_EQ(cache.find("/a", false, 1500), reader);
}

TEST(LayoutCache, a_writers_answer_is_seen_by_all_who_hold_the_layout) {
  LayoutCache cache;
  const LayoutRef reader = cache.put("/a", layout(1, 5, false, 100), 10);
  const LayoutRef writer = cache.put("/a", layout(2, 6, true, 50), 20);
  EXPECT_EQ(reader, writer);
  EXPECT_EQ(reader->size_bytes, 50u);
}

TEST(LayoutCache, a_writers_answer_that_was_overtaken_by_a_readers_still_gives_the_right) {
  LayoutCache cache;
  const LayoutRef reader = cache.put("/a", layout(2, 5, false, 300), 10);
  const LayoutRef writer = cache.put("/a", layout(1, 5, true, 100), 20);
  EXPECT_TRUE(writer->may_write);
  EXPECT_EQ(writer->size_bytes, 300u);
  EXPECT_EQ(cache.find("/a", true, 30), reader);
}

TEST(LayoutCache, a_writers_answer_of_an_older_generation_is_not_cached) {
  LayoutCache cache;
  const LayoutRef reader = cache.put("/a", layout(2, 6, false, 300), 10);
  const LayoutRef writer = cache.put("/a", layout(1, 5, true, 100), 20);
  EXPECT_TRUE(writer->may_write);
  EXPECT_EQ(writer->generation, 5u);
  EXPECT_EQ(cache.find("/a", false, 30), reader);
  EXPECT_EQ(cache.find("/a", true, 30), nullptr);
}

}  // namespace
}  // namespace gd2fs::client
