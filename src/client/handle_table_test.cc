#include "client/handle_table.h"

#include <thread>

#include <gtest/gtest.h>

namespace gd2fs::client {
namespace {

TEST(HandleTable, stale_and_invented_handles_open_nothing) {
  HandleTable<int> table(4);
  const auto first = table.insert(1);
  ASSERT_NE(first, 0u);
  ASSERT_EQ(*table.pin(first), 1);
  EXPECT_FALSE(table.unpin(first));
  EXPECT_TRUE(table.close(first));
  EXPECT_FALSE(table.close(first));
  EXPECT_EQ(table.pin(first), nullptr);
  EXPECT_TRUE(table.was_open(first));
  table.release(first);
  const auto second = table.insert(2);
  EXPECT_NE(first, second);
  EXPECT_EQ(table.pin(first), nullptr);
  EXPECT_TRUE(table.was_open(first));
  EXPECT_EQ(*table.pin(second), 2);
  EXPECT_FALSE(table.unpin(second));
  for (uint64_t invented : {uint64_t{0}, uint64_t{1}, uint64_t{0xdeadbeef}, ~uint64_t{0}}) {
    EXPECT_EQ(table.pin(invented), nullptr);
    EXPECT_FALSE(table.close(invented));
    EXPECT_FALSE(table.was_open(invented));
  }
}

TEST(HandleTable, the_entry_over_the_limit_is_refused_and_a_released_one_is_used_again) {
  HandleTable<int> table(2);
  const auto a = table.insert(1);
  const auto b = table.insert(2);
  EXPECT_EQ(table.insert(3), 0u);
  table.close(a);
  EXPECT_EQ(table.insert(3), 0u);
  table.release(a);
  EXPECT_NE(table.insert(3), 0u);
  EXPECT_EQ(*table.pin(b), 2);
}

TEST(HandleTable, the_last_unpin_of_a_closing_entry_is_told_once_under_contention) {
  HandleTable<int> table(1);
  for (int round = 0; round < 200; ++round) {
    const auto handle = table.insert(round);
    std::atomic<int> last{0};
    std::atomic<bool> go{false};
    auto user = [&] {
      while (!go.load()) std::this_thread::yield();
      while (table.pin(handle) != nullptr) {
        if (table.unpin(handle)) ++last;
      }
    };
    std::thread first(user);
    std::thread second(user);
    const bool held = table.pin(handle) != nullptr;
    go = true;
    std::this_thread::yield();
    EXPECT_TRUE(table.close(handle));
    if (held && table.unpin(handle)) ++last;
    first.join();
    second.join();
    EXPECT_EQ(table.pins(handle), 0u);
    EXPECT_EQ(last.load(), 1);
    table.release(handle);
  }
}

}  // namespace
}  // namespace gd2fs::client
