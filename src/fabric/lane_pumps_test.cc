#include "fabric/lane_pumps.h"

#include <csignal>
#include <latch>

#include <gtest/gtest.h>

#include "base/cores.h"

namespace gd2fs {
namespace {

TEST(LanePumps, threads_are_started_when_they_are_needed_and_lanes_are_spread) {
  LanePumps pumps(2);
  EXPECT_EQ(pumps.threads(), 0u);
  LanePump* first = pumps.take();
  EXPECT_EQ(pumps.threads(), 1u);
  LanePump* second = pumps.take();
  EXPECT_NE(first, second);
  EXPECT_EQ(pumps.threads(), 2u);
  pumps.take();
  pumps.take();
  EXPECT_EQ(first->lanes, 2u);
  EXPECT_EQ(second->lanes, 2u);
  pumps.give_back(*second);
  EXPECT_EQ(pumps.take(), second);
  EXPECT_EQ(pumps.threads(), 2u);
}

TEST(LanePumps, a_machine_of_two_cores_has_none_but_what_is_asked_for) {
  const bool has_cores = usable_cores() >= LanePumps::kCoresMin;
  EXPECT_EQ(LanePumps::of_this_machine(0) != nullptr, has_cores);
  EXPECT_NE(LanePumps::of_this_machine(1), nullptr);
  EXPECT_GE(LanePumps::lanes_of_this_machine(), LanePumps::kLanesMin);
}

TEST(LanePumps, signals_belong_to_other_threads) {
  LanePumps pumps(1);
  std::latch looked(1);
  sigset_t blocked;
  sigemptyset(&blocked);
  pumps.take()->loop.post([&] {
    pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
    looked.count_down();
  });
  looked.wait();
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1, SIGCHLD}) {
    EXPECT_EQ(sigismember(&blocked, signal), 1);
  }
}

TEST(LanePumps, what_breaks_on_a_thread_is_told_and_the_process_lives) {
  std::latch told(1);
  std::string where;
  LanePumps pumps(1, [&](const CheckFailure& failure) {
    where = failure.where;
    told.count_down();
  });
  pumps.take()->loop.post([] { throw CheckFailure{"here"}; });
  told.wait();
  EXPECT_EQ(where, "here");
}

TEST(LanePumps, nothing_runs_after_a_stop_and_what_waits_is_freed) {
  auto kept = std::make_shared<int>(1);
  {
    LanePumps pumps(2);
    LanePump* pump = pumps.take();
    std::latch ran(1);
    pump->loop.post([&] { ran.count_down(); });
    ran.wait();
    pumps.stop();
    pumps.stop();
    pump->loop.post([kept] { ++*kept; });
    EXPECT_EQ(*kept, 1);
  }
  EXPECT_EQ(kept.use_count(), 1);
}

}  // namespace
}  // namespace gd2fs
