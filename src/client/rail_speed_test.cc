#include "client/rail_speed.h"

#include <gtest/gtest.h>

namespace gd2fs::client {
namespace {

constexpr uint64_t kMiB = 1 << 20;

TEST(RailSpeed, is_measured_over_spans_that_are_long_enough_and_forgotten_after_a_while) {
  RailSpeed speed;
  uint64_t now_ns = 5 * kSecond;
  EXPECT_EQ(speed.ns_per_byte(now_ns), 0);
  speed.begin(now_ns);
  now_ns += kMs;
  speed.arrived(kMiB, true, now_ns);
  EXPECT_EQ(speed.ns_per_byte(now_ns), 0);  // too short to tell
  now_ns += kMs;
  speed.arrived(3 * kMiB, true, now_ns);
  EXPECT_DOUBLE_EQ(speed.ns_per_byte(now_ns), 2e6 / (4 * kMiB));
  now_ns += RailSpeed::kForgetNs;
  EXPECT_EQ(speed.ns_per_byte(now_ns), 0);
}

TEST(RailSpeed, bytes_that_came_one_by_one_with_pauses_are_no_measure) {
  RailSpeed speed;
  uint64_t now_ns = kSecond;
  for (int i = 0; i < 100; ++i) {
    speed.begin(now_ns);
    now_ns += kMs;
    speed.arrived(kMiB, false, now_ns);
    now_ns += 50 * kMs;
  }
  EXPECT_EQ(speed.ns_per_byte(now_ns), 0);
}

TEST(RailSpeed, rails_of_one_kind_are_equal_and_slow_ones_count_by_how_much) {
  EXPECT_EQ(slowness(0, 0.02), 1u);
  EXPECT_EQ(slowness(0.02, 0), 1u);
  EXPECT_EQ(slowness(0.028, 0.02), 1u);
  EXPECT_EQ(slowness(0.04, 0.02), 2u);
  EXPECT_EQ(slowness(0.2, 0.02), 10u);
}

}  // namespace
}  // namespace gd2fs::client
