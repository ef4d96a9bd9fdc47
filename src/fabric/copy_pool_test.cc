#include "fabric/copy_pool.h"

#include <algorithm>
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

TEST_F(Copies, a_job_taken_back_is_touched_no_more_and_one_that_is_under_way_still_finishes) {
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
      if (taken.back()) std::ranges::fill(job.to, std::byte{9});
    }
    run();
    size_t i = 0;
    for (Job& job : jobs) {
      const bool gone = taken[i++];
      EXPECT_EQ(job.finished, gone ? 0 : 1);
      if (gone) {
        EXPECT_EQ(std::ranges::count(job.to, std::byte{9}), 1'000'000);
      }
    }
  }
}

TEST_F(Copies, a_job_of_many_parts_is_cut_anywhere) {
  for (const bool around_cache : {false, true}) {
    Job job(3 * CopyPool::kSliceBytes + 17);
    for (size_t i = 0; i < job.from.size(); ++i)
      job.from[i] = static_cast<std::byte>(i * 7 + i / 251);
    job.parts.clear();
    job.around_cache = around_cache;
    size_t at = 0;
    for (size_t length = 1; at < job.from.size(); length = length * 3 % 200'003 + 1) {
      const size_t part = std::min(length, job.from.size() - at);
      job.parts.push_back({job.to.data() + at, job.from.data() + at, part});
      at += part;
    }
    pool.submit(job);
    run();
    EXPECT_EQ(job.finished, 1);
    EXPECT_TRUE(job.to == job.from);
  }
}

TEST_F(Copies, who_waits_for_a_job_has_its_memory_back) {
  for (int round = 0; round < 50; ++round) {
    std::list<Job> jobs;
    for (int i = 0; i < 8; ++i) pool.submit(jobs.emplace_back(1'000'000));
    if (round % 2 == 1) loop.turn(0);
    for (Job& job : jobs) {
      if (job.finished == 0) pool.wait(job);
      std::ranges::fill(job.to, std::byte{9});
    }
    EXPECT_TRUE(pool.idle());
    for (Job& job : jobs) EXPECT_EQ(std::ranges::count(job.to, std::byte{9}), 1'000'000);
    jobs.clear();
    loop.turn(0);
  }
}

}  // namespace
}  // namespace gd2fs
