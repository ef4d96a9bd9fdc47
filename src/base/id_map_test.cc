#include "base/id_map.h"

#include <unordered_map>

#include <gtest/gtest.h>

#include "base/random.h"

namespace gd2fs {
namespace {

TEST(IdMap, does_what_a_standard_map_does) {
  // Few numbers, so that entries are erased in the middle of each other's chains.
  for (const uint64_t numbers : {7, 40, 3000}) {
    Random random(numbers);
    IdMap<uint64_t> map;
    std::unordered_map<uint64_t, uint64_t> model;
    for (int step = 0; step < 20000; ++step) {
      const uint64_t id = random.between(1, numbers) * (step % 3 == 0 ? 1 : uint64_t{1} << 32);
      switch (random.between(0, 3)) {
        case 0:
          EXPECT_EQ(map.insert(id, step), model.emplace(id, step).second);
          break;
        case 1:
          EXPECT_EQ(map.erase(id), model.erase(id) == 1);
          break;
        case 2: {
          const auto there = model.find(id);
          const std::optional<uint64_t> taken = map.take(id);
          ASSERT_EQ(taken.has_value(), there != model.end());
          if (!taken) break;
          EXPECT_EQ(*taken, there->second);
          model.erase(there);
          break;
        }
        default:
          ASSERT_EQ(map.contains(id), model.contains(id));
          if (model.contains(id)) {
            EXPECT_EQ(*map.find(id), model[id]);
          }
      }
      ASSERT_EQ(map.size(), model.size());
    }
    size_t visited = 0;
    map.for_each([&](uint64_t id, uint64_t value) {
      ++visited;
      EXPECT_EQ(model.at(id), value);
    });
    EXPECT_EQ(visited, model.size());
    for (const auto& [id, value] : model) EXPECT_EQ(*map.find(id), value);
    map.clear();
    EXPECT_TRUE(map.empty());
    EXPECT_FALSE(map.contains(1));
  }
}

TEST(IdMap, has_nothing_under_number_0) {
  IdMap<int> map;
  EXPECT_EQ(map.find(0), nullptr);
  EXPECT_FALSE(map.erase(0));
  map.insert(5, 1);
  EXPECT_EQ(map.find(0), nullptr);
  EXPECT_FALSE(map.erase(0));
}

TEST(IdTable, objects_stay_where_they_are_and_are_used_again) {
  IdTable<int> table;
  int* const first = table.insert(1);
  *first = 77;
  EXPECT_EQ(table.insert(1), nullptr);
  for (uint64_t id = 2; id < 1000; ++id) ASSERT_NE(table.insert(id), nullptr);
  for (uint64_t id = 2; id < 1000; ++id) table.erase(id);
  EXPECT_EQ(table.find(1), first);
  EXPECT_EQ(table.size(), 1U);
  table.erase(1);
  table.erase(1);
  EXPECT_TRUE(table.empty());
  EXPECT_EQ(table.find(1), nullptr);
  EXPECT_EQ(table.insert(2), first);  // the last to go is the first to come
  EXPECT_EQ(*first, 77);
}

}  // namespace
}  // namespace gd2fs
