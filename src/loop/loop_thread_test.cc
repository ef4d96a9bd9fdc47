#include "loop/loop_thread.h"

#include <algorithm>
#include <signal.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include "base/random.h"

namespace gd2fs {
namespace {

using Woken = LoopThread::Woken;

constexpr uint64_t kLongNs = 20 * kSecond;  // nothing here takes so long unless a wake-up is lost

RealClock g_clock;

std::unique_ptr<LoopThread> start_thread(LoopThread::Options options = {}) {
  auto thread = LoopThread::start(g_clock, std::move(options));
  CHECK(thread.has_value());
  return std::move(*thread);
}

// For threads that do not drive: a flag of the test's own, slept on without the loop.
class Latch {
 public:
  void set() {
    word_.store(1, std::memory_order_release);
    futex_wake_all(word_);
  }
  bool wait(uint64_t for_ns = kLongNs) {
    const uint64_t deadline_ns = g_clock.now_ns() + for_ns;
    while (word_.load(std::memory_order_acquire) == 0) {
      if (futex_wait(word_, 0, deadline_ns) == FutexEnd::deadline) break;
    }
    return word_.load(std::memory_order_acquire) == 1;
  }

 private:
  std::atomic<uint32_t> word_{0};
};

// Runs `then` from the loop after a delay.
class Alarm {
 public:
  explicit Alarm(std::function<void()> then) : then_(std::move(then)) {
    timer_.bind<&Alarm::fire>(this);
  }
  void arm(LoopThread& thread, uint64_t delay_ns) {
    ASSERT_TRUE(
        thread.submit([this, &thread, delay_ns] { thread.loop().start(timer_, delay_ns); }));
  }

 private:
  void fire(Completion&) { then_(); }
  std::function<void()> then_;
  Timer timer_;
};

TEST(LoopThread, a_job_runs_at_once_on_the_thread_that_submits_it_when_nobody_drives) {
  auto thread = start_thread();
  const auto self = std::this_thread::get_id();
  const uint64_t deadline_ns = g_clock.now_ns() + kLongNs;
  bool in_place = false;
  while (!in_place && g_clock.now_ns() < deadline_ns) {  // the I/O thread may be driving just now
    std::thread::id ran_on;
    Latch ran;
    ASSERT_TRUE(thread->submit([&] {
      ran_on = std::this_thread::get_id();
      ran.set();
    }));
    ASSERT_TRUE(ran.wait());
    in_place = ran_on == self;
  }
  EXPECT_TRUE(in_place);
}

TEST(LoopThread, jobs_of_one_thread_run_in_the_order_submitted) {
  auto thread = start_thread();
  std::vector<int> order;
  WaitFlag flag(*thread);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(thread->submit([&order, i] { order.push_back(i); }));
  }
  ASSERT_TRUE(thread->submit([&flag] { flag.set(); }));
  ASSERT_EQ(thread->drive_until(flag, UINT64_MAX), Woken::flag);
  ASSERT_EQ(order.size(), 1000u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST(LoopThread, the_waiting_thread_drives_the_loop_itself) {
  auto thread = start_thread();
  const auto self = std::this_thread::get_id();
  int by_self = 0;
  for (int i = 0; i < 50; ++i) {
    WaitFlag flag(*thread);
    std::thread::id ran_on;
    Alarm alarm([&] {
      ran_on = std::this_thread::get_id();
      flag.set();
    });
    alarm.arm(*thread, 300 * kUs);
    ASSERT_EQ(thread->drive_until(flag, UINT64_MAX), Woken::flag);
    by_self += ran_on == self ? 1 : 0;
  }
  EXPECT_GT(by_self, 0);
}

TEST(LoopThread, work_in_flight_is_driven_although_nobody_ever_waits) {
  auto thread = start_thread();
  Latch timer_ran;
  Alarm alarm([&] { timer_ran.set(); });
  alarm.arm(*thread, kMs);  // earlier than what the sleeping I/O thread knew of
  EXPECT_TRUE(timer_ran.wait());

  struct Event {
    Watch watch;
    int fd = eventfd(0, EFD_NONBLOCK);
    Latch ran;
    LoopThread* thread;
    void on_events(uint32_t) {
      thread->loop().unwatch(watch);
      ran.set();
    }
  } event;
  event.thread = thread.get();
  event.watch.bind<&Event::on_events>(&event);
  ASSERT_TRUE(thread->submit(
      [&] { ASSERT_TRUE(thread->loop().watch(event.watch, event.fd, EPOLLIN).ok()); }));
  const uint64_t one = 1;
  ASSERT_EQ(write(event.fd, &one, sizeof one), 8);
  EXPECT_TRUE(event.ran.wait());

  Latch posted;
  thread->loop().post([&] { posted.set(); });  // mail that did not come through submit()
  EXPECT_TRUE(posted.wait());
  close(event.fd);
}

TEST(LoopThread, the_io_thread_takes_over_when_a_caller_leaves_work_behind) {
  auto thread = start_thread();
  // After the last and longest drive it rests: the early alarm called it, and it saw that a caller
  // drives and goes on driving.
  for (const uint64_t drive_ns : {uint64_t{0}, 100 * kUs, kMs, 30 * kMs}) {
    Latch ran;
    Alarm early([] {});
    Alarm late([&] { ran.set(); });
    early.arm(*thread, drive_ns / 10);
    late.arm(*thread, drive_ns + 500 * kUs);
    WaitFlag never(*thread);
    EXPECT_EQ(thread->drive_until(never, g_clock.now_ns() + drive_ns), Woken::deadline);
    EXPECT_TRUE(ran.wait()) << "after driving for " << drive_ns << " ns";
  }
}

TEST(LoopThread, the_second_waiter_drives_on_when_the_first_one_leaves) {
  auto thread = start_thread();
  const auto self = std::this_thread::get_id();
  int handed_over = 0;
  for (int round = 0; round < 100; ++round) {
    WaitFlag first(*thread);
    WaitFlag second(*thread);
    std::thread::id first_ran_on;
    std::thread::id second_ran_on;
    Alarm first_alarm([&] {
      first_ran_on = std::this_thread::get_id();
      first.set();
    });
    Alarm second_alarm([&] {
      second_ran_on = std::this_thread::get_id();
      second.set();
    });
    first_alarm.arm(*thread, kMs);
    second_alarm.arm(*thread, 2 * kMs);
    Woken second_woken = Woken::stopped;
    std::thread other(
        [&] { second_woken = thread->drive_until(second, g_clock.now_ns() + kLongNs); });
    const auto other_id = other.get_id();
    EXPECT_EQ(thread->drive_until(first, g_clock.now_ns() + kLongNs), Woken::flag);
    other.join();
    ASSERT_EQ(second_woken, Woken::flag) << "round " << round;
    if (first_ran_on == self && second_ran_on == other_id) ++handed_over;
  }
  EXPECT_GT(handed_over, 0);  // the I/O thread could do it too, but later
}

TEST(LoopThread, a_flag_set_by_a_thread_that_is_not_the_loop_wakes_driver_and_sleeper) {
  auto thread = start_thread();
  for (int round = 0; round < 100; ++round) {
    WaitFlag a(*thread);
    WaitFlag b(*thread);
    Woken a_woken = Woken::stopped;
    std::thread other([&] { a_woken = thread->drive_until(a, g_clock.now_ns() + kLongNs); });
    std::thread setter([&] {
      a.set();
      b.set();
    });
    EXPECT_EQ(thread->drive_until(b, g_clock.now_ns() + kLongNs), Woken::flag);
    other.join();
    setter.join();
    ASSERT_EQ(a_woken, Woken::flag) << "round " << round;
  }
}

TEST(LoopThread, a_wait_ends_at_its_deadline_for_the_driver_and_for_a_sleeper) {
  auto thread = start_thread();
  const auto least_overshoot_ns = [&] {
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < 20; ++i) {
      WaitFlag never(*thread);
      const uint64_t deadline_ns = g_clock.now_ns() + 2 * kMs;
      EXPECT_EQ(thread->drive_until(never, deadline_ns), Woken::deadline);
      const uint64_t now = g_clock.now_ns();
      EXPECT_GE(now, deadline_ns);
      least = std::min(least, now - deadline_ns);
    }
    return least;
  };
  EXPECT_LT(least_overshoot_ns(), kMs);
  WaitFlag end(*thread);
  std::thread driver([&] { EXPECT_EQ(thread->drive_until(end, UINT64_MAX), Woken::flag); });
  EXPECT_LT(least_overshoot_ns(), kMs);
  end.set();
  driver.join();
}

TEST(LoopThread, stop_ends_the_waits_of_driver_and_sleepers_and_later_calls_do_nothing) {
  for (int round = 0; round < 50; ++round) {
    auto thread = start_thread();
    std::atomic<uint32_t> inside{0};
    std::vector<std::thread> waiters;
    std::atomic<uint32_t> stopped{0};
    for (int i = 0; i < 3; ++i) {
      waiters.emplace_back([&] {
        WaitFlag never(*thread);
        inside.fetch_add(1);
        if (thread->drive_until(never, UINT64_MAX) == Woken::stopped) stopped.fetch_add(1);
      });
    }
    while (inside.load() < 3) std::this_thread::yield();
    thread->stop();
    for (std::thread& waiter : waiters) waiter.join();
    ASSERT_EQ(stopped.load(), 3u) << "round " << round;
    EXPECT_FALSE(thread->submit([] { FAIL(); }));
    WaitFlag never(*thread);
    EXPECT_EQ(thread->drive_until(never, UINT64_MAX), Woken::stopped);
    EXPECT_EQ(thread->loop().run_ready(), 0u);  // the loop is the stopper's own now
  }
}

void on_user_signal(int) {}

TEST(LoopThread, a_handled_signal_ends_a_wait_that_asked_for_it) {
  struct sigaction action{};
  action.sa_handler = on_user_signal;
  struct sigaction before{};
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  auto thread = start_thread();
  std::atomic<bool> back{false};
  Woken woken = Woken::stopped;
  std::thread waiter([&] {
    WaitFlag never(*thread);
    woken = thread->drive_until(never, UINT64_MAX, 0, LoopThread::OnSignal::come_back);
    back.store(true);
  });
  const pthread_t id = waiter.native_handle();
  while (!back.load()) {
    pthread_kill(id, SIGUSR1);
    std::this_thread::yield();
  }
  waiter.join();
  EXPECT_EQ(woken, Woken::signal);
  sigaction(SIGUSR1, &before, nullptr);
}

TEST(LoopThread, the_io_thread_has_its_name_and_blocks_signals) {
  auto thread = start_thread();
  std::string name;
  bool blocks = false;
  Latch ran;
  Alarm alarm([&] {
    char text[16] = {};
    pthread_getname_np(pthread_self(), text, sizeof text);
    name = text;
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    blocks = sigismember(&mask, SIGINT) == 1 && sigismember(&mask, SIGUSR1) == 1;
    ran.set();
  });
  alarm.arm(*thread, kMs);
  ASSERT_TRUE(ran.wait());
  EXPECT_EQ(name, "gd2fs-io");
  EXPECT_TRUE(blocks);
}

uint64_t process_cpu_ns() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<uint64_t>(now.tv_sec) * kSecond + static_cast<uint64_t>(now.tv_nsec);
}

TEST(LoopThread, an_idle_process_uses_no_cpu_whether_or_not_a_caller_waits) {
  auto thread = start_thread();
  WaitFlag warm(*thread);
  Alarm alarm([&] { warm.set(); });
  alarm.arm(*thread, kMs);
  ASSERT_EQ(thread->drive_until(warm, UINT64_MAX), Woken::flag);

  uint64_t cpu_ns = process_cpu_ns();
  EXPECT_FALSE(Latch().wait(200 * kMs));  // nobody drives
  EXPECT_LT(process_cpu_ns() - cpu_ns, 2 * kMs);

  cpu_ns = process_cpu_ns();
  WaitFlag never(*thread);
  EXPECT_EQ(thread->drive_until(never, g_clock.now_ns() + 200 * kMs), Woken::deadline);
  EXPECT_LT(process_cpu_ns() - cpu_ns, 2 * kMs);
}

// --- a failed CHECK ---

class ThrowingChecks {
 public:
  ThrowingChecks() { set_check_handler(check_throw); }
  ~ThrowingChecks() { set_check_handler(check_abort); }
};

Task<int> fails(Loop* loop) {
  co_await Delay(*loop, kMs);
  CHECK(loop == nullptr);
  co_return 1;
}
Task<void> awaits_failing(Loop* loop, bool* went_on) {
  [[maybe_unused]] const int value = co_await fails(loop);
  *went_on = true;
}

TEST(LoopThread, a_failed_check_poisons_the_loop_and_ends_all_waits_but_not_the_process) {
  const ThrowingChecks throwing;
  bool went_on = false;
  std::string where;
  LoopThread::Options options;
  options.on_poisoned = [&](const CheckFailure& failure) { where = failure.where; };
  auto thread = start_thread(std::move(options));
  Woken other_woken = Woken::flag;
  std::thread other([&] {
    WaitFlag never(*thread);
    other_woken = thread->drive_until(never, UINT64_MAX);
  });
  ASSERT_TRUE(
      thread->submit([&] { thread->loop().spawn(awaits_failing(&thread->loop(), &went_on)); }));
  WaitFlag never(*thread);
  EXPECT_EQ(thread->drive_until(never, UINT64_MAX), Woken::poisoned);
  other.join();
  EXPECT_EQ(other_woken, Woken::poisoned);
  EXPECT_NE(where.find("loop == nullptr"), std::string::npos) << where;
  EXPECT_FALSE(went_on);
  EXPECT_TRUE(thread->poisoned());
  EXPECT_FALSE(thread->submit([] { FAIL(); }));
  thread->stop();
}

TEST(LoopThread, a_flag_set_by_on_poisoned_wins_over_the_poison) {
  const ThrowingChecks throwing;
  WaitFlag* flag_in_flight = nullptr;
  LoopThread::Options options;
  options.on_poisoned = [&](const CheckFailure&) { flag_in_flight->set(); };
  auto thread = start_thread(std::move(options));
  WaitFlag flag(*thread);
  flag_in_flight = &flag;
  Alarm alarm([] { CHECK(g_clock.now_ns() == 0); });
  alarm.arm(*thread, kMs);
  EXPECT_EQ(thread->drive_until(flag, UINT64_MAX), Woken::flag);
}

}  // namespace
}  // namespace gd2fs
