#include "fabric/copy_job.h"

#include <algorithm>
#include <atomic>
#include <list>
#include <optional>
#include <thread>

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
    void on_finished(SliceJob&) { ++finished; }
    std::vector<std::byte> from;
    std::vector<std::byte> to;
    int finished = 0;
  };
  RealClock clock;
  Loop loop{clock, Loop::Waits::epoll};
  SlicePool pool{loop, "copies", 2};
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
    Job job(3 * SlicePool::kSliceBytes + 17);
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

TEST_F(Copies, a_pool_takes_its_mail_along_when_it_goes) {
  {
    SlicePool goes(loop, "copies", 2);
    Job job(1000);
    goes.submit(job);
    goes.wait(job);
    EXPECT_TRUE(loop.has_mail());
  }
  EXPECT_FALSE(loop.has_mail());
}

// A job may go at any moment, and a pool with jobs in it: nobody touches their memory then.
TEST_F(Copies, jobs_and_pools_that_go_early_leave_nothing_behind) {
  struct Leaver : Job {
    using Job::Job;
    ~Leaver() override { leave(); }
  };
  for (int round = 0; round < 50; ++round) {
    std::optional<SlicePool> goes(std::in_place, loop, "copies", 2);
    Leaver stays(2'000'000);
    {
      std::list<Leaver> jobs;
      for (int i = 0; i < 6; ++i) goes->submit(jobs.emplace_back(1'000'000));
      if (round % 3 == 1) loop.turn(0);
      goes->submit(stays);
    }
    EXPECT_FALSE(goes->idle());
    if (round % 2 == 0) {
      goes.reset();
    } else {
      goes->drop_all();
    }
    std::ranges::fill(stays.to, std::byte{9});
    loop.turn(0);
    EXPECT_EQ(std::ranges::count(stays.to, std::byte{9}), 2'000'000);
    EXPECT_EQ(stays.finished, 0);
    if (!goes) continue;
    goes->submit(stays);  // a pool that was emptied serves on
    while (!goes->idle()) loop.turn(kMs);
    EXPECT_EQ(stays.finished, 1);
    EXPECT_TRUE(stays.to == stays.from);
  }
}

// Knows who copies it. Helpers are held by it while `held`.
struct WatchedJob : SliceJob {
  explicit WatchedJob(uint64_t length) {
    length_bytes = length;
    bind<&WatchedJob::on_finished>(this);
  }
  void make(uint64_t, uint64_t) override {
    if (std::this_thread::get_id() == loop_thread) {
      by_loop = true;
      return;
    }
    by_helper = true;
    ++begun;
    held.wait(true);
  }
  void on_finished(SliceJob&) { ++finished; }
  static inline std::thread::id loop_thread;
  static inline std::atomic<bool> held;
  static inline std::atomic<int> begun;
  bool by_loop = false;
  std::atomic<bool> by_helper{false};
  int finished = 0;
};

// Moves when it is told to. Helpers look at it, too.
class HandClock final : public Clock {
 public:
  uint64_t now_ns() override { return now; }
  uint64_t wall_us() override { return 0; }
  std::atomic<uint64_t> now{kSecond};
};

// A pool whose helpers look for work; the loop is turned only where a test says so.
class LookingCopies : public Copies {
 protected:
  static constexpr uint64_t kSmall = 64 << 10;  // too little to wake anybody
  void SetUp() override {
    WatchedJob::loop_thread = std::this_thread::get_id();
    WatchedJob::held = false;
    WatchedJob::begun = 0;
  }
  void finish(SlicePool& pool) {
    while (!pool.idle()) loop.turn(kMs);
  }
  // Makes the helpers.
  void fill(SlicePool& pool) {
    std::list<WatchedJob> jobs;
    for (int i = 0; i < 16; ++i) pool.submit(jobs.emplace_back(SlicePool::kSliceBytes));
    finish(pool);
  }
  // Whether a helper copies something small, the loop standing still.
  bool helper_copies(SlicePool& pool, uint64_t limit_ns) {
    WatchedJob job(kSmall);
    pool.submit(job);
    const uint64_t end_ns = loop.now_ns() + limit_ns;
    while (!job.by_helper && loop.now_ns() < end_ns) spin_pause();
    const bool copied = job.by_helper;
    finish(pool);
    EXPECT_EQ(job.finished, 1);
    return copied;
  }
};

TEST_F(LookingCopies, a_helper_that_looks_takes_what_is_too_little_to_wake_one) {
  SlicePool looking(loop, "copies", 2, 20 * kSecond);
  fill(looking);
  EXPECT_TRUE(helper_copies(looking, 20 * kSecond));
  for (int i = 0; i < 3; ++i) {
    Job more(3 * SlicePool::kSliceBytes + 17);
    looking.submit(more);
    finish(looking);
    EXPECT_EQ(more.finished, 1);
    EXPECT_TRUE(more.to == more.from);
  }
}

TEST_F(LookingCopies, who_expects_much_wakes_the_helpers) {
  SlicePool looking(loop, "copies", 2, kMs);
  fill(looking);
  const uint64_t end_ns = loop.now_ns() + 20 * kSecond;
  while (helper_copies(looking, 20 * kMs) && loop.now_ns() < end_ns) {  // until they sleep
    const uint64_t pause_ns = loop.now_ns() + 5 * kMs;
    while (loop.now_ns() < pause_ns) loop.turn(kMs);
  }
  bool copied = false;
  while (!copied && loop.now_ns() < end_ns) {
    looking.expect(64 * kMiB);
    loop.turn(0);
    copied = helper_copies(looking, 20 * kMs);
  }
  EXPECT_TRUE(copied);
}

// All helpers are at work and get no further; the time stands still.
class LeftCopies : public LookingCopies {
 protected:
  static constexpr int kHelpers = SlicePool::kEnoughHelpers;
  void SetUp() override {
    LookingCopies::SetUp();
    WatchedJob::held = true;
    for (int i = 0; i < 12; ++i) looking.submit(jobs.emplace_back(SlicePool::kSliceBytes));
    const uint64_t end_ns = clock.now_ns() + 20 * kSecond;
    while (WatchedJob::begun < kHelpers && clock.now_ns() < end_ns) spin_pause();
    ASSERT_EQ(WatchedJob::begun, kHelpers);
    turn();
  }
  void TearDown() override {
    WatchedJob::held = false;
    WatchedJob::held.notify_all();
    while (!looking.idle()) still.turn(0);
    for (const WatchedJob& job : jobs) EXPECT_EQ(job.finished, 1);
  }
  void turn() {
    for (int i = 0; i < 20; ++i) still.turn(0);
  }
  int64_t by_loop() {
    return std::ranges::count_if(jobs, [](const WatchedJob& job) { return job.by_loop; });
  }
  HandClock hand;
  Loop still{hand, Loop::Waits::epoll};
  SlicePool looking{still, "copies", SlicePool::kEnoughHelpers, kMs};
  std::list<WatchedJob> jobs;
};

TEST_F(LeftCopies, with_enough_helpers_at_work_the_loop_copies_nothing) {
  hand.now += SlicePool::kLeftMaxNs - 1;
  turn();
  EXPECT_EQ(by_loop(), 0);
  EXPECT_EQ(WatchedJob::begun, kHelpers);
}

TEST_F(LeftCopies, what_helpers_do_not_come_to_the_loop_copies_after_a_while) {
  for (int64_t copied = 1; copied <= 3; ++copied) {
    hand.now += SlicePool::kLeftMaxNs;
    turn();
    EXPECT_EQ(by_loop(), copied);
  }
}

}  // namespace
}  // namespace gd2fs
