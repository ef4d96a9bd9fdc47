#include "meta/group_patience.h"

#include <gtest/gtest.h>

namespace gd2fs {
namespace {

constexpr uint64_t kGroupNs = 200'000;

class Patience : public testing::Test {
 protected:
  Patience() {
    for (int i = 0; i < 100; ++i) ends(0);  // it knows what a group takes
  }
  void ends(size_t answered) { patience.ended(answered, kGroupNs, now_ns += kGroupNs); }
  uint64_t wait_ns(size_t waiting, size_t alive) {
    return patience.wait_ns(waiting, alive, now_ns);
  }
  // Two were answered; one comes back, and nobody else.
  bool waits_in_vain() {
    ends(2);
    patience.came();
    const uint64_t wait = wait_ns(1, 1);
    if (wait == 0) return false;
    now_ns += wait;
    EXPECT_EQ(wait_ns(1, 1), 0u);
    return true;
  }
  GroupPatience patience;
  uint64_t now_ns = 0;
};

TEST_F(Patience, who_is_alone_never_waits) {
  for (int i = 0; i < 1000; ++i) {
    ends(1);
    patience.came();
    ASSERT_EQ(wait_ns(1, 1), 0u);
  }
}

TEST_F(Patience, the_first_to_come_back_waits_for_the_others) {
  for (int i = 0; i < 1000; ++i) {
    ends(3);
    for (size_t back = 1; back < 3; ++back) {
      patience.came();
      ASSERT_GT(wait_ns(back, back), 0u);
    }
    patience.came();
    ASSERT_EQ(wait_ns(3, 3), 0u);
  }
}

TEST_F(Patience, who_reads_before_it_commits_is_waited_for) {
  ends(1);
  patience.came();
  EXPECT_GT(wait_ns(1, 2), 0u);
  EXPECT_EQ(wait_ns(2, 2), 0u);
}

// A long scan, say, beside two who commit again and again.
TEST_F(Patience, who_does_not_come_is_waited_for_once) {
  int waits = 0;
  for (int i = 0; i < 100; ++i) {
    ends(2);
    patience.came();
    ASSERT_GT(wait_ns(1, 2), 0u) << i;
    patience.came();
    if (const uint64_t wait = wait_ns(2, 3); wait > 0) {
      ++waits;
      now_ns += wait;
      ASSERT_EQ(wait_ns(2, 3), 0u);
    }
  }
  EXPECT_EQ(waits, 1);
  ends(2);
  patience.came();
  patience.came();
  EXPECT_EQ(wait_ns(2, 2), 0u);  // it is gone
  ends(2);
  patience.came();
  patience.came();
  EXPECT_GT(wait_ns(2, 3), 0u);  // another
}

// A reader's end is not what was waited for.
TEST_F(Patience, a_wait_that_nobody_joins_was_in_vain) {
  int waits = 0;
  for (int i = 0; i < 1000; ++i) {
    ends(1);
    patience.came();
    if (wait_ns(1, 2) > 0) ++waits;
    ASSERT_EQ(wait_ns(1, 1), 0u);
  }
  EXPECT_LE(waits, 30);
}

TEST_F(Patience, nobody_waits_much_longer_than_a_group_takes) {
  ends(2);
  now_ns += 10'000;
  patience.came();
  const uint64_t wait = wait_ns(1, 1);
  EXPECT_GT(wait, kGroupNs);
  EXPECT_LE(wait, 2 * kGroupNs);
  now_ns += wait;
  EXPECT_EQ(wait_ns(1, 1), 0u);
}

TEST_F(Patience, on_a_slow_drive_nobody_waits_longer_than_the_limit) {
  for (int i = 0; i < 100; ++i) patience.ended(2, 50'000'000, now_ns += 50'000'000);
  patience.came();
  EXPECT_EQ(wait_ns(1, 1), GroupPatience::kWaitMaxNs);
}

TEST_F(Patience, what_was_in_vain_is_tried_more_and_more_seldom) {
  int waits = 0;
  for (int i = 0; i < 1000; ++i) waits += waits_in_vain() ? 1 : 0;
  EXPECT_GE(waits, 10);
  EXPECT_LE(waits, 30);
}

TEST_F(Patience, once_it_pays_again_every_group_waits) {
  for (int i = 0; i < 1000; ++i) waits_in_vain();
  uint32_t groups = 0;
  for (bool waits = false; !waits; ++groups) {
    ASSERT_LE(groups, GroupPatience::kPauseMax);
    ends(2);
    patience.came();
    waits = wait_ns(1, 1) > 0;
    patience.came();
    ASSERT_EQ(wait_ns(2, 2), 0u);
  }
  for (int i = 0; i < 100; ++i) {
    ends(2);
    patience.came();
    ASSERT_GT(wait_ns(1, 1), 0u);
    patience.came();
    ASSERT_EQ(wait_ns(2, 2), 0u);
  }
}

}  // namespace
}  // namespace gd2fs
