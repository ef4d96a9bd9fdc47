#include "fabric/copy_pool.h"

#include <list>

#include <gtest/gtest.h>

namespace gd2fs {
namespace {

class Copies : public testing::Test {
 protected:
  struct Job : CopyJob {
    explicit Job(size_t length) : from(length, std::byte{7}), to(length) {
      parts = {{to.data(), from.data(), length}};
      length_bytes = length;
      bind<&Job::on_finished>(this);
    }
    void on_finished(CopyJob&) { ++finished; }
    std::vector<std::byte> from;
    std::vector<std::byte> to;
    int finished = 0;
  };
  RealClock clock;
  Loop loop{clock, Loop::Waits::epoll};
  CopyPool pool{loop, 2};
  void run() {
    while (!pool.idle()) loop.turn(kMs);
  }
};

TEST_F(Copies, every_job_is_copied_and_finished_once) {
  for (const size_t length : {size_t{1}, size_t{100'000}, size_t{4'000'000}}) {
    std::list<Job> jobs;
    for (int i = 0; i < 20; ++i) pool.submit(jobs.emplace_back(length));
    EXPECT_EQ(jobs.front().finished, 0);  // never inside the call
    run();
    for (Job& job : jobs) {
      EXPECT_EQ(job.finished, 1);
      EXPECT_TRUE(job.to == job.from);
    }
  }
}

TEST_F(Copies, a_job_taken_back_is_not_copied_and_one_that_is_begun_still_finishes) {
  for (int round = 0; round < 50; ++round) {
    std::list<Job> jobs;
    for (int i = 0; i < 8; ++i) pool.submit(jobs.emplace_back(1'000'000));
    if (round % 2 == 1) loop.turn(0);
    std::vector<bool> taken;
    for (Job& job : jobs) {
      if (job.finished > 0) {
        taken.push_back(false);
        continue;
      }
      taken.push_back(pool.take_back(job));
      if (taken.back()) {
        EXPECT_EQ(job.to[0], std::byte{0});
      }
    }
    run();
    size_t i = 0;
    for (Job& job : jobs) EXPECT_EQ(job.finished, taken[i++] ? 0 : 1);
  }
}

TEST_F(Copies, who_waits_for_a_job_has_its_memory_back) {
  for (int round = 0; round < 50; ++round) {
    std::list<Job> jobs;
    for (int i = 0; i < 8; ++i) pool.submit(jobs.emplace_back(1'000'000));
    if (round % 2 == 1) loop.turn(0);
    for (Job& job : jobs) {
      if (job.finished == 0) pool.wait(job);
    }
    EXPECT_TRUE(pool.idle());
    jobs.clear();
    loop.turn(0);
  }
}

}  // namespace
}  // namespace gd2fs
