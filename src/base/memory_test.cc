// Fifo, SmallVector, BlockPool: lists and objects whose memory is used again.
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/block_pool.h"
#include "base/fifo.h"
#include "base/random.h"
#include "base/small_vector.h"

namespace gd2fs {
namespace {

TEST(Fifo, does_what_a_deque_does) {
  Random random(1);
  Fifo<std::unique_ptr<uint64_t>> fifo;
  std::deque<uint64_t> model;
  for (uint64_t step = 0; step < 20000; ++step) {
    switch (random.between(0, 6)) {
      case 0:
      case 1:
        fifo.push_back(std::make_unique<uint64_t>(step));
        model.push_back(step);
        break;
      case 2:
        fifo.push_front(std::make_unique<uint64_t>(step));
        model.push_front(step);
        break;
      case 3:
        if (step % 100 == 0) {
          fifo.erase_if([](const auto& each) { return *each % 3 == 0; });
          std::erase_if(model, [](uint64_t each) { return each % 3 == 0; });
        }
        break;
      default:
        if (model.empty()) break;
        EXPECT_EQ(*fifo.take_front(), model.front());
        model.pop_front();
    }
    ASSERT_EQ(fifo.size(), model.size());
    if (model.empty()) continue;
    EXPECT_EQ(*fifo.front(), model.front());
    EXPECT_EQ(*fifo.back(), model.back());
    EXPECT_EQ(*fifo[model.size() / 2], model[model.size() / 2]);
  }
  const bool has_zero = fifo.any_of([](const auto& each) { return *each == 0; });
  EXPECT_EQ(has_zero, std::ranges::find(model, uint64_t{0}) != model.end());
  fifo.clear();
  EXPECT_TRUE(fifo.empty());
}

TEST(Fifo, gives_objects_out_again_as_they_were_left) {
  Fifo<std::string> fifo;
  fifo.add() = std::string(1000, 'x');
  const char* const memory = fifo.front().data();
  fifo.pop_front();
  for (int i = 0; i < 7; ++i) fifo.push_back("other");
  for (int i = 0; i < 7; ++i) fifo.pop_front();
  EXPECT_EQ(fifo.add().data(), memory);
}

TEST(SmallVector, does_what_a_vector_does_in_itself_and_on_the_heap) {
  SmallVector<std::shared_ptr<int>, 2> small;
  std::vector<std::shared_ptr<int>> model;
  for (int i = 0; i < 20; ++i) {
    model.push_back(std::make_shared<int>(i));
    small.push_back(model.back());
    SmallVector<std::shared_ptr<int>, 2> moved = std::move(small);
    EXPECT_TRUE(small.empty());  // NOLINT(bugprone-use-after-move): that is what is asked
    small = std::move(moved);
    ASSERT_EQ(small.size(), model.size());
    for (int at = 0; at <= i; ++at) EXPECT_EQ(*small[at], at);
    EXPECT_EQ(model.back().use_count(), 2);
  }
  small.shrink(3);
  EXPECT_EQ(small.size(), 3U);
  EXPECT_EQ(model[2].use_count(), 2);
  EXPECT_EQ(model[3].use_count(), 1);
  small.assign(model.data() + 5, 15);
  EXPECT_EQ(*small.front(), 5);
  EXPECT_EQ(*small.back(), 19);
  EXPECT_EQ(model[2].use_count(), 1);
  small.append(model.data(), 4);
  EXPECT_EQ(small.size(), 19U);
  EXPECT_EQ(*small[14], 19);
  EXPECT_EQ(*small.back(), 3);
  EXPECT_EQ(model[19].use_count(), 2);
  small.clear();
  for (const auto& each : model) EXPECT_EQ(each.use_count(), 1);
}

struct Base : FromBlockPool {
  virtual ~Base() = default;
};
struct Small final : Base {
  explicit Small(int* count) : living(count) { ++*living; }
  ~Small() override { --*living; }
  int* living;
};
struct Large final : Base {
  char bytes[1000] = {};
};

TEST(BlockPool, an_object_gets_the_memory_that_one_of_its_size_left) {
  BlockPool pool;
  int living = 0;
  std::unique_ptr<Base> first(new (pool) Small(&living));
  const std::unique_ptr<Base> large(new (pool) Large);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(large.get()) % alignof(std::max_align_t), 0U);
  const void* const memory = first.get();
  first.reset();
  EXPECT_EQ(living, 0);
  const std::unique_ptr<Base> other(new (pool) Large);
  EXPECT_NE(other.get(), memory);
  const std::unique_ptr<Base> second(new (pool) Small(&living));
  EXPECT_EQ(second.get(), memory);
  EXPECT_EQ(living, 1);
}

}  // namespace
}  // namespace gd2fs
