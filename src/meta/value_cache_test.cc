#include "meta/value_cache.h"

#include <gtest/gtest.h>

namespace gd2fs {
namespace {

TEST(ValueCache, knows_values_and_absences_and_says_so_when_it_knows_nothing) {
  ValueCache cache(10000);
  EXPECT_EQ(cache.find("a"), nullptr);
  cache.put("a", "1");
  cache.put("b", std::nullopt);
  EXPECT_EQ(*cache.find("a"), "1");
  ASSERT_NE(cache.find("b"), nullptr);
  EXPECT_EQ(*cache.find("b"), std::nullopt);
  cache.put("a", std::nullopt);
  EXPECT_EQ(*cache.find("a"), std::nullopt);
  EXPECT_EQ(cache.keys(), 2u);
  cache.clear();
  EXPECT_EQ(cache.find("a"), nullptr);
  EXPECT_EQ(cache.bytes(), 0u);
}

TEST(ValueCache, stays_within_its_bytes_and_keeps_what_was_used_last) {
  ValueCache cache(20000);
  for (int i = 0; i < 1000; ++i) {
    cache.put("key" + std::to_string(i), std::string(100, 'v'));
    EXPECT_NE(cache.find("key0"), nullptr);  // used all the time
    EXPECT_LE(cache.bytes(), 20000u);
  }
  EXPECT_NE(cache.find("key999"), nullptr);
  EXPECT_EQ(cache.find("key1"), nullptr);
  cache.put("key999", std::string(50000, 'v'));  // larger than all of it
  EXPECT_EQ(cache.keys(), 0u);
  EXPECT_EQ(cache.bytes(), 0u);
}

}  // namespace
}  // namespace gd2fs
