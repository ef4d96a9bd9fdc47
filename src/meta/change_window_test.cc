#include "meta/change_window.h"

#include <gtest/gtest.h>

namespace gd2fs {
namespace {

TEST(ChangeWindow, a_key_changed_after_a_revision_has_changed_since_it) {
  ChangeWindow window;
  window.add(5, "a");
  EXPECT_TRUE(window.changed_since(4, "a"));
  EXPECT_FALSE(window.changed_since(5, "a"));
  EXPECT_FALSE(window.changed_since(4, "b"));
  window.add(7, "a");
  EXPECT_TRUE(window.changed_since(6, "a"));
}

TEST(ChangeWindow, ranges_are_half_open) {
  ChangeWindow window;
  window.add(5, "b");
  EXPECT_TRUE(window.range_changed_since(4, "a", "c"));
  EXPECT_TRUE(window.range_changed_since(4, "b", "c"));
  EXPECT_FALSE(window.range_changed_since(4, "a", "b"));
  EXPECT_FALSE(window.range_changed_since(5, "a", "c"));
}

TEST(ChangeWindow, what_is_forgotten_counts_as_changed) {
  ChangeWindow window;
  window.add(5, "a");
  window.add(6, "b");
  window.forget_until(5);
  EXPECT_EQ(window.keys(), 1u);
  EXPECT_TRUE(window.changed_since(4, "never seen"));
  EXPECT_TRUE(window.range_changed_since(4, "x", "y"));
  EXPECT_FALSE(window.changed_since(5, "a"));
  EXPECT_TRUE(window.changed_since(5, "b"));
}

TEST(ChangeWindow, a_key_changed_again_is_kept_when_its_first_change_is_forgotten) {
  ChangeWindow window;
  window.add(5, "a");
  window.add(9, "a");
  window.forget_until(7);
  EXPECT_TRUE(window.changed_since(8, "a"));
}

TEST(ChangeWindow, it_never_holds_more_than_keys_max) {
  ChangeWindow window(10);
  for (uint64_t i = 1; i <= 100; ++i) window.add(i, "k" + std::to_string(i));
  EXPECT_EQ(window.keys(), 10u);
  EXPECT_TRUE(window.changed_since(50, "k1"));
  EXPECT_FALSE(window.changed_since(90, "k90"));
  EXPECT_TRUE(window.changed_since(90, "k91"));
}

TEST(ChangeWindow, after_forget_all_everything_before_has_changed) {
  ChangeWindow window;
  window.add(5, "a");
  window.forget_all(8);
  EXPECT_TRUE(window.changed_since(7, "b"));
  EXPECT_FALSE(window.changed_since(8, "b"));
  EXPECT_EQ(window.keys(), 0u);
}

}  // namespace
}  // namespace gd2fs
