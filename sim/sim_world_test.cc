#include "sim/sim_world.h"

#include <gtest/gtest.h>

namespace gd2fs {
namespace {

struct Ticker {
  Loop& loop;
  Timer timer;
  int ticks = 0;
  int ticks_max;
  Ticker(Loop& owner, int max) : loop(owner), ticks_max(max) {
    timer.bind<&Ticker::on_tick>(this);
    loop.start(timer, kMs);
  }
  void on_tick(Completion&) {
    if (++ticks < ticks_max) loop.start(timer, kMs);
  }
};

TEST(SimWorld, the_clock_jumps_from_timer_to_timer_over_all_loops) {
  SimWorld world(1);
  Loop a(world.clock(), Loop::Waits::never);
  Loop b(world.clock(), Loop::Waits::never);
  SimWorld::Member in_a(world, a);
  SimWorld::Member in_b(world, b);
  Ticker five(a, 5);
  Ticker nine(b, 9);
  const uint64_t start_ns = world.clock().now_ns();
  EXPECT_TRUE(world.run_until([&] { return nine.ticks == 3; }));
  EXPECT_EQ(five.ticks, 3);
  EXPECT_EQ(world.clock().now_ns(), start_ns + 3 * kMs);
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_EQ(five.ticks, 5);
  EXPECT_EQ(nine.ticks, 9);
  EXPECT_EQ(world.clock().now_ns(), start_ns + 9 * kMs);
}

TEST(SimWorld, run_until_gives_up_when_idle_or_late_and_never_passes_the_limit) {
  SimWorld world(1);
  Loop loop(world.clock(), Loop::Waits::never);
  SimWorld::Member member(world, loop);
  EXPECT_FALSE(world.run_until([] { return false; }));
  Ticker many(loop, 1'000'000);
  const uint64_t start_ns = world.clock().now_ns();
  EXPECT_FALSE(world.run_until([] { return false; }, 10 * kMs + 1));
  EXPECT_EQ(many.ticks, 10);
  EXPECT_LE(world.clock().now_ns(), start_ns + 10 * kMs + 1);
  world.run_for_ns(kMs / 2);
  EXPECT_EQ(many.ticks, 10);
  EXPECT_FALSE(world.run_until_idle(kMs));
}

TEST(SimWorld, a_loop_may_leave_while_another_runs) {
  SimWorld world(3);
  Loop killer(world.clock(), Loop::Waits::never);
  SimWorld::Member member(world, killer);
  auto victim = std::make_unique<Loop>(world.clock(), Loop::Waits::never);
  auto victim_member = std::make_unique<SimWorld::Member>(world, *victim);
  killer.post([&] {
    victim_member.reset();
    victim.reset();
  });
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_EQ(victim, nullptr);
}

}  // namespace
}  // namespace gd2fs
