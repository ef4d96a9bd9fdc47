#include "loop/loop.h"

#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include "loop/worker.h"

namespace gd2fs {
namespace {

class ManualClock final : public Clock {
 public:
  uint64_t now_ns() override { return ns; }
  uint64_t wall_us() override { return ns / 1000; }
  uint64_t ns = 0;
};

struct Recorder {
  std::vector<int> order;
  Completion a;
  Completion b;
  Timer early;
  Timer late;
  Loop* loop = nullptr;
  Recorder() {
    a.bind<&Recorder::on_a>(this);
    b.bind<&Recorder::on_b>(this);
    early.bind<&Recorder::on_early>(this);
    late.bind<&Recorder::on_late>(this);
  }
  void on_a(Completion&) { order.push_back(1); }
  void on_b(Completion& done) { order.push_back(static_cast<int>(done.value)); }
  void on_early(Completion&) {
    order.push_back(10);
    loop->cancel(late);
  }
  void on_late(Completion&) { order.push_back(20); }
};

TEST(Loop, completions_never_run_inside_complete) {
  ManualClock clock;
  Loop loop(clock, Loop::Waits::never);
  Recorder r;
  loop.complete(r.a, Status());
  loop.complete(r.b, Status(StatusCode::io), 7);
  EXPECT_TRUE(r.order.empty());
  EXPECT_TRUE(r.b.pending());
  loop.run_ready();
  EXPECT_EQ(r.order, (std::vector<int>{1, 7}));
  EXPECT_EQ(r.b.status.code(), StatusCode::io);
}

TEST(Loop, what_is_to_run_first_runs_before_what_was_queued_earlier) {
  ManualClock clock;
  Loop loop(clock, Loop::Waits::never);
  Recorder r;
  loop.complete(r.a, Status());
  loop.complete_first(r.b, Status(), 7);
  EXPECT_TRUE(r.order.empty());
  EXPECT_TRUE(loop.has_completions());
  loop.run_ready();
  EXPECT_EQ(r.order, (std::vector<int>{7, 1}));
  EXPECT_FALSE(loop.has_completions());
}

TEST(Loop, timers_fire_in_deadline_order_and_a_canceled_one_stays_silent_even_when_due) {
  ManualClock clock;
  Loop loop(clock, Loop::Waits::never);
  Recorder r;
  r.loop = &loop;
  loop.start(r.late, 100);
  loop.start(r.early, 50);
  EXPECT_EQ(loop.next_timer_ns(), 50u);
  loop.run_ready();
  EXPECT_TRUE(r.order.empty());
  clock.ns = 200;  // both are due in the same turn
  loop.run_ready();
  EXPECT_EQ(r.order, (std::vector<int>{10}));
  EXPECT_EQ(loop.next_timer_ns(), UINT64_MAX);
}

Task<int> twice(Loop* loop, int value) {
  co_await Delay(*loop, 10);
  co_return value * 2;
}
Task<void> sum(Loop* loop, int* out) {
  const int a = co_await twice(loop, 3);
  const int b = co_await twice(loop, 4);
  *out = a + b;
}

TEST(Loop, a_spawned_task_awaits_tasks_and_delays_and_is_freed_at_its_end) {
  ManualClock clock;
  Loop loop(clock, Loop::Waits::never);
  int out = 0;
  loop.spawn(sum(&loop, &out));
  for (int i = 0; i < 10 && loop.spawned() > 0; ++i) {
    while (loop.run_ready() > 0) {
    }
    if (loop.next_timer_ns() != UINT64_MAX) clock.ns = loop.next_timer_ns();
  }
  EXPECT_EQ(out, 14);
  EXPECT_EQ(loop.spawned(), 0u);
}

Task<Result<int>> half(int value) {
  if (value % 2 != 0) co_return fail(StatusCode::invalid, "odd", EDOM);
  co_return value / 2;
}
Task<Status> is_even(int value) {
  GD2FS_CO_ASSIGN([[maybe_unused]] const int halved, co_await half(value));
  co_return Status();
}
Task<Result<int>> quarter(int value) {
  GD2FS_CO_TRY(co_await is_even(value));
  GD2FS_CO_ASSIGN(const int halved, co_await half(value));
  GD2FS_CO_ASSIGN(const int quartered, co_await half(halved));
  co_return quartered;
}
Task<void> quarter_into(int value, Result<int>* out) {
  *out = co_await quarter(value);
}

TEST(Task, a_failure_passes_up_through_co_try_and_co_assign_with_its_errno) {
  ManualClock clock;
  Loop loop(clock, Loop::Waits::never);
  Result<int> twelve = 0;
  Result<int> six = 0;
  Result<int> odd = 0;
  loop.spawn(quarter_into(12, &twelve));
  loop.spawn(quarter_into(6, &six));
  loop.spawn(quarter_into(5, &odd));
  while (loop.run_ready() > 0) {
  }
  EXPECT_EQ(twelve.value(), 3);
  EXPECT_EQ(six.error(), Status(StatusCode::invalid, EDOM));
  EXPECT_EQ(odd.error(), Status(StatusCode::invalid, EDOM));
}

struct Reader {
  Watch watch;
  Loop* loop = nullptr;
  int fd = -1;
  int runs = 0;
  Reader* other = nullptr;
  void on_events(uint32_t) {
    ++runs;
    if (other != nullptr) loop->unwatch(other->watch);
    uint64_t count = 0;
    EXPECT_EQ(read(fd, &count, sizeof count), 8);
  }
};

TEST(Loop, a_watch_removed_by_another_callback_of_the_same_turn_does_not_run) {
  RealClock clock;
  Loop loop(clock, Loop::Waits::epoll);
  Reader a;
  Reader b;
  for (Reader* r : {&a, &b}) {
    r->loop = &loop;
    r->fd = eventfd(1, EFD_NONBLOCK);
    r->watch.bind<&Reader::on_events>(r);
    ASSERT_TRUE(loop.watch(r->watch, r->fd, EPOLLIN).ok());
  }
  a.other = &b;
  b.other = &a;
  loop.turn(0);
  EXPECT_EQ(a.runs + b.runs, 1);
  for (Reader* r : {&a, &b}) {
    loop.unwatch(r->watch);
    close(r->fd);
  }
}

namespace {
// Notes its number when it runs, and may take another one back.
struct NumberedMail {
  Mail mail;
  int number = 0;
  std::vector<int>* order = nullptr;
  Loop* loop = nullptr;
  NumberedMail* taken_back = nullptr;
  NumberedMail() { mail.bind<&NumberedMail::run>(this); }
  void run() {
    order->push_back(number);
    if (taken_back != nullptr) loop->take_back(taken_back->mail);
  }
};
}  // namespace

TEST(Loop, mail_that_is_taken_back_does_not_run_and_the_others_do_in_their_order) {
  ManualClock clock;
  Loop loop(clock, Loop::Waits::epoll);
  for (int gone = 0; gone < 5; ++gone) {
    std::vector<int> order;
    std::vector<std::unique_ptr<NumberedMail>> mails;
    for (int i = 0; i < 5; ++i) {
      NumberedMail& one = *mails.emplace_back(std::make_unique<NumberedMail>());
      one.number = i;
      one.order = &order;
      loop.post(one.mail);
    }
    loop.take_back(mails[static_cast<size_t>(gone)]->mail);
    loop.take_back(mails[static_cast<size_t>(gone)]->mail);
    mails[static_cast<size_t>(gone)].reset();
    EXPECT_TRUE(loop.has_mail());
    loop.run_ready();
    std::vector<int> expected{0, 1, 2, 3, 4};
    expected.erase(expected.begin() + gone);
    EXPECT_EQ(order, expected);
  }
}

TEST(Loop, mail_can_be_taken_back_by_mail_that_runs_before_it) {
  ManualClock clock;
  Loop loop(clock, Loop::Waits::epoll);
  std::vector<int> order;
  NumberedMail mails[3];
  for (int i = 0; i < 3; ++i) {
    mails[i].number = i;
    mails[i].order = &order;
    mails[i].loop = &loop;
    loop.post(mails[i].mail);
  }
  mails[0].taken_back = &mails[1];
  loop.run_ready();
  loop.post(mails[1].mail);
  loop.run_ready();
  EXPECT_EQ(order, (std::vector<int>{0, 2, 1}));
}

TEST(Loop, mail_from_another_thread_wakes_a_sleeping_loop) {
  RealClock clock;
  Loop loop(clock, Loop::Waits::epoll);
  int ran = 0;
  std::thread sender([&] {
    for (int i = 0; i < 100; ++i) loop.post([&] { ++ran; });
    loop.post([&] { loop.stop(); });
  });
  loop.run();
  sender.join();
  EXPECT_EQ(ran, 100);
}

// Posts from inside now_ns(), which turn() calls between its look at the mail and its sleep.
class PostingClock final : public Clock {
 public:
  uint64_t now_ns() override {
    if (Mail* once = std::exchange(mail, nullptr)) loop->post(*once);
    return real.now_ns();
  }
  uint64_t wall_us() override { return real.wall_us(); }
  RealClock real;
  Loop* loop = nullptr;
  Mail* mail = nullptr;
};

TEST(Loop, mail_posted_between_the_last_look_and_the_sleep_ends_the_sleep) {
  PostingClock clock;
  Loop loop(clock, Loop::Waits::epoll);
  struct Receiver {
    int mails = 0;
    void on_mail() { ++mails; }
  } receiver;
  Mail mail;
  mail.bind<&Receiver::on_mail>(&receiver);
  clock.loop = &loop;
  for (const uint64_t spin_ns : {uint64_t{0}, 20 * kUs}) {
    const uint64_t from_ns = clock.real.now_ns();
    clock.mail = &mail;
    receiver.mails = 0;
    loop.turn(20 * kSecond, spin_ns);
    EXPECT_EQ(receiver.mails, 1);
    EXPECT_LT(clock.real.now_ns() - from_ns, 10 * kSecond);
  }
}

TEST(Loop, work_that_goes_on_and_on_lets_the_fds_in_between) {
  RealClock clock;
  Loop loop(clock, Loop::Waits::epoll);
  struct Work {
    Loop& loop;
    Completion again;
    Watch watch;
    int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);  // readable
    int rounds = 0;
    int events = 0;
    explicit Work(Loop& owner) : loop(owner) {
      again.bind<&Work::on_again>(this);
      watch.bind<&Work::on_event>(this);
    }
    ~Work() {
      loop.unwatch(watch);
      close(fd);
    }
    void on_again(Completion&) {
      if (++rounds < 100) loop.complete_after_fds(again, Status());
    }
    void on_event(uint32_t) { ++events; }
  } work(loop);
  ASSERT_TRUE(loop.watch(work.watch, work.fd, EPOLLIN).ok());
  loop.complete_after_fds(work.again, Status());
  EXPECT_TRUE(loop.has_completions());
  while (loop.has_completions()) loop.turn(UINT64_MAX);  // never sleeps while there is work
  EXPECT_EQ(work.rounds, 100);
  EXPECT_GE(work.events, 100);
}

TEST(Loop, wake_before_the_sleep_is_remembered) {
  RealClock clock;
  Loop loop(clock, Loop::Waits::epoll);
  const uint64_t from_ns = clock.now_ns();
  loop.wake();
  loop.turn(20 * kSecond);
  EXPECT_LT(clock.now_ns() - from_ns, 10 * kSecond);
}

TEST(Loop, jobs_posted_and_never_run_are_freed_with_the_loop) {
  RealClock clock;
  const auto held = std::make_shared<int>(1);
  {
    Loop loop(clock, Loop::Waits::epoll);
    loop.post([held] {});
  }
  EXPECT_EQ(held.use_count(), 1);
}

TEST(Loop, a_turn_whose_time_has_come_looks_once_and_does_not_spin) {
  RealClock clock;
  Loop loop(clock, Loop::Waits::epoll);
  constexpr uint64_t kSpinNs = 50 * kUs;
  const uint64_t past_ns = clock.now_ns();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(loop.turn_until(past_ns, kSpinNs), 0u);
  EXPECT_GE(loop.turned_ns(), past_ns);
  EXPECT_TRUE(loop.adaptive_spin().worthwhile());  // two spins in vain would have ended that
  for (int i = 0; i < 2; ++i) EXPECT_EQ(loop.turn(0, kSpinNs), 0u);
  EXPECT_FALSE(loop.adaptive_spin().worthwhile());
}

TEST(AdaptiveSpin, stops_after_two_misses_and_starts_again_after_short_sleeps) {
  constexpr uint64_t kWindowNs = 50 * kUs;
  AdaptiveSpin spin;
  EXPECT_TRUE(spin.worthwhile());
  spin.spun(false, kWindowNs, kWindowNs);
  EXPECT_TRUE(spin.worthwhile());
  spin.spun(false, kWindowNs, kWindowNs);
  EXPECT_FALSE(spin.worthwhile());
  for (int i = 0; i < 100; ++i) spin.slept(kMs, kWindowNs);  // no spin would have met these
  EXPECT_FALSE(spin.worthwhile());
  spin.slept(kWindowNs, kWindowNs);
  EXPECT_FALSE(spin.worthwhile());
  spin.slept(kWindowNs, kWindowNs);
  EXPECT_TRUE(spin.worthwhile());
  spin.spun(true, kUs, kWindowNs);
  EXPECT_TRUE(spin.worthwhile());
}

TEST(AdaptiveSpin, gives_up_for_long_after_losing_a_time_slice_even_if_it_found_work) {
  constexpr uint64_t kWindowNs = 50 * kUs;
  AdaptiveSpin spin;
  spin.spun(true, 3 * kMs, kWindowNs);
  int sleeps = 0;
  while (!spin.worthwhile() && sleeps < 100000) {
    spin.slept(kUs, kWindowNs);
    ++sleeps;
  }
  EXPECT_EQ(sleeps, 1024);
}

TEST(Worker, jobs_run_elsewhere_and_complete_on_the_loop) {
  RealClock clock;
  Loop loop(clock, Loop::Waits::epoll);
  ThreadWorker worker("test-worker");
  struct Waiter {
    Loop* loop;
    Status status;
    void on_done(Completion& done) {
      status = done.status;
      loop->stop();
    }
  } waiter{&loop, {}};
  Job job;
  std::thread::id ran_on;
  job.run = [&] {
    ran_on = std::this_thread::get_id();
    return Status(StatusCode::no_space);
  };
  job.done.bind<&Waiter::on_done>(&waiter);
  worker.submit(loop, job);
  loop.run();
  EXPECT_EQ(waiter.status.code(), StatusCode::no_space);
  EXPECT_NE(ran_on, std::this_thread::get_id());
}

Task<void> work_elsewhere(Loop* loop, Worker* worker, std::thread::id* ran_on, Status* status) {
  *status = co_await OnWorker(*loop, *worker, [ran_on] {
    *ran_on = std::this_thread::get_id();
    return Status(StatusCode::no_space);
  });
  loop->stop();
}

TEST(Worker, a_coroutine_waits_for_a_job_and_goes_on_with_its_status) {
  RealClock clock;
  Loop loop(clock, Loop::Waits::epoll);
  ThreadWorker worker("test-worker");
  std::thread::id ran_on;
  Status status;
  loop.spawn(work_elsewhere(&loop, &worker, &ran_on, &status));
  loop.run();
  EXPECT_EQ(status.code(), StatusCode::no_space);
  EXPECT_NE(ran_on, std::this_thread::get_id());
}

}  // namespace
}  // namespace gd2fs
