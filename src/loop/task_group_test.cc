#include "loop/task_group.h"

#include <memory>

#include <gtest/gtest.h>

namespace gd2fs {
namespace {

class StillClock final : public Clock {
 public:
  uint64_t now_ns() override { return now; }
  uint64_t wall_us() override { return 0; }
  uint64_t now = 1;
};

struct TaskGroupTest : testing::Test {
  StillClock clock;
  Loop loop{clock, Loop::Waits::never};
};

Task<void> sleep_then_count(Loop* loop, uint64_t delay_ns, int* count) {
  co_await Delay(*loop, delay_ns);
  ++*count;
}

TEST_F(TaskGroupTest, idle_waits_for_the_last_task_and_frees_every_frame) {
  TaskGroup group(loop);
  int count = 0;
  for (uint64_t i = 1; i <= 3; ++i) group.spawn(sleep_then_count(&loop, i * kMs, &count));
  EXPECT_EQ(group.running(), 3u);
  bool idle = false;
  loop.spawn([](TaskGroup* waited, bool* ended) -> Task<void> {
    co_await waited->idle();
    *ended = true;
  }(&group, &idle));
  loop.run_ready();
  clock.now += 2 * kMs;
  loop.run_ready();
  loop.run_ready();
  EXPECT_EQ(count, 2);
  EXPECT_FALSE(idle);
  clock.now += 2 * kMs;
  while (loop.run_ready() > 0) {
  }
  EXPECT_EQ(count, 3);
  EXPECT_TRUE(idle);
  EXPECT_EQ(group.running(), 0u);
}

TEST_F(TaskGroupTest, destroying_the_group_destroys_frames_that_have_not_ended) {
  auto held = std::make_shared<int>(7);
  auto group = std::make_unique<TaskGroup>(loop);
  group->spawn([](Loop* on, std::shared_ptr<int> kept) -> Task<void> {
    co_await Delay(*on, kSecond);
    ADD_FAILURE() << "ran after its group was destroyed, holding " << *kept;
  }(&loop, held));
  loop.run_ready();
  EXPECT_EQ(held.use_count(), 2);
  group.reset();
  EXPECT_EQ(held.use_count(), 1);
  clock.now += 2 * kSecond;
  EXPECT_EQ(loop.run_ready(), 0u);
}

}  // namespace
}  // namespace gd2fs
