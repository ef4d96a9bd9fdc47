#include "loop/small_mutex.h"

#include <mutex>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace gd2fs {
namespace {

TEST(SmallMutex, one_thread_at_a_time_is_inside_and_all_get_in) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 20000;
  SmallMutex mutex;
  int inside = 0;
  int both = 0;
  long sum = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < kRounds; ++round) {
        const std::lock_guard lock(mutex);
        both += inside++;
        ++sum;
        if (round % 64 == 0) std::this_thread::yield();  // so that others find it taken, and sleep
        --inside;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(both, 0);
  EXPECT_EQ(sum, long{kThreads} * kRounds);
}

}  // namespace
}  // namespace gd2fs
