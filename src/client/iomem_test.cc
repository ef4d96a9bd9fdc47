#include "client/iomem.h"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>
#include <sys/mman.h>

namespace gd2fs::client {
namespace {

TEST(Iomem, a_slice_may_touch_both_ends_of_its_registration_and_nothing_beyond) {
  IomemTable table;
  std::byte surroundings[300];
  std::byte* memory = surroundings + 100;
  const IomemHandle handle = *table.add(memory, 100);
  auto pins = [&](const void* at, uint64_t length) {
    const bool pinned = table.pin(handle, at, length);
    if (pinned) table.unpin(handle);
    return pinned;
  };
  EXPECT_TRUE(pins(memory, 100));
  EXPECT_TRUE(pins(memory + 99, 1));
  EXPECT_TRUE(pins(memory + 100, 0));
  EXPECT_FALSE(pins(memory + 100, 1));
  EXPECT_FALSE(pins(memory, 101));
  EXPECT_FALSE(pins(memory + 1, UINT64_MAX));
  EXPECT_FALSE(pins(memory - 1, 1));
  EXPECT_FALSE(pins(memory - 1, 0));
  EXPECT_FALSE(table.pin(0, memory, 1));
  EXPECT_FALSE(table.pin(handle + 1, memory, 1));
}

TEST(Iomem, empty_wrapping_unmapped_and_unreadable_ranges_are_refused) {
  IomemTable table;
  std::byte one;
  EXPECT_EQ(table.add(nullptr, 1).error().code(), StatusCode::invalid);
  EXPECT_EQ(table.add(&one, 0).error().code(), StatusCode::invalid);
  EXPECT_EQ(table.add(&one, UINTPTR_MAX).error().code(), StatusCode::invalid);
  const size_t page = 4096;
  void* memory = mmap(nullptr, 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  // What a GPU's address looks like from the CPU: reserved, and not readable.
  EXPECT_EQ(table.add(memory, 2 * page).error().code(), StatusCode::unsupported);
  ASSERT_EQ(mprotect(memory, page, PROT_READ | PROT_WRITE), 0);
  EXPECT_EQ(table.add(memory, 2 * page).error().code(), StatusCode::unsupported);
  EXPECT_TRUE(table.add(memory, page).has_value());
  munmap(memory, 2 * page);
  EXPECT_EQ(table.add(memory, page).error().code(), StatusCode::unsupported);
}

struct Flag final : IomemTable::Drain {
  std::atomic<int> times{0};
  void drained() override { ++times; }
};

TEST(Iomem, a_closing_registration_lets_nobody_in_and_tells_once_when_the_last_has_left) {
  IomemTable table;
  std::byte memory[8];
  const IomemHandle handle = *table.add(memory, 8);
  ASSERT_TRUE(table.pin(handle, memory, 8));
  ASSERT_TRUE(table.pin(handle, memory, 8));
  ASSERT_TRUE(table.close(handle));
  EXPECT_FALSE(table.close(handle));
  EXPECT_FALSE(table.pin(handle, memory, 8));
  Flag flag;
  EXPECT_FALSE(table.wait(handle, &flag));
  table.unpin(handle);
  EXPECT_EQ(flag.times, 0);
  table.unpin(handle);
  EXPECT_EQ(flag.times, 1);
  EXPECT_TRUE(table.wait(handle, &flag));
  table.remove(handle);
  EXPECT_FALSE(table.pin(handle, memory, 8));
}

TEST(Iomem, a_hundred_thousand_registrations_are_quick_and_independent) {
  IomemTable table;
  std::vector<std::byte> memory(100'000);
  std::vector<IomemHandle> handles;
  for (auto& byte : memory) handles.push_back(*table.add(&byte, 1));
  for (size_t i = 0; i < handles.size(); i += 2) {
    ASSERT_TRUE(table.close(handles[i]));
    ASSERT_TRUE(table.wait(handles[i], nullptr));
    table.remove(handles[i]);
  }
  for (size_t i = 0; i < handles.size(); ++i) {
    ASSERT_EQ(table.pin(handles[i], &memory[i], 1), i % 2 == 1);
  }
}

}  // namespace
}  // namespace gd2fs::client
