// The callers' side of LoopThread. The I/O thread's side is in io_thread.cc.
//
// Every wake-up rule below has the same shape: one side announces (stores) and then looks (loads),
// the other stores what is looked for and then loads the announcement, all sequentially consistent,
// so that at least one of them sees the other.
#include "loop/loop_thread.h"

#include <signal.h>
#include <utility>

#include "base/log.h"

namespace gd2fs {

void WaitFlag::set() {
  LoopThread& thread = thread_;
  const uint32_t before = state_.exchange(kSet, std::memory_order_seq_cst);
  if (before == kAsleep) futex_wake_one(state_);
  // Set from the loop, the driver sees it after this turn.
  if (before == kDriving && !thread.loop_.on_loop_thread()) thread.loop_.wake();
}

// Counts a thread in and out. The last one out of a stopping LoopThread wakes stop(), by address
// only, since the LoopThread may be gone by then.
class LoopThread::Inside {
 public:
  explicit Inside(LoopThread& thread) : callers_(thread.callers_) {
    callers_.fetch_add(1, std::memory_order_seq_cst);
  }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  ~Inside() {
    const uint32_t before = callers_.fetch_sub(1, std::memory_order_seq_cst);
    if (before == (kStopping | 1)) futex_wake_all(callers_);
  }

 private:
  std::atomic<uint32_t>& callers_;
};

LoopThread::LoopThread(RealClock& clock, Options options)
    : clock_(clock), options_(std::move(options)), loop_(clock, Loop::Waits::epoll) {
  loop_.on_wake_undriven(this, [](void* self) { static_cast<LoopThread*>(self)->unpark_io(); });
}

Result<std::unique_ptr<LoopThread>> LoopThread::start(RealClock& clock, Options options) {
  std::unique_ptr<LoopThread> thread(new LoopThread(clock, std::move(options)));
  // Signals belong to the application's threads.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int failed = pthread_create(
      &thread->io_thread_, nullptr,
      [](void* self) -> void* {
        static_cast<LoopThread*>(self)->io_main();
        return nullptr;
      },
      thread.get());
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (failed != 0) return fail(Status::from_errno(failed, "start the I/O thread"));
  thread->io_started_ = true;
  pthread_setname_np(thread->io_thread_, thread->options_.name.c_str());
  return thread;
}

LoopThread::~LoopThread() {
  stop();
}

void LoopThread::stop() {
  CHECK(!loop_.on_loop_thread());
  callers_.fetch_or(kStopping, std::memory_order_seq_cst);
  loop_.wake();  // the driver
  wake_sleepers();
  for (;;) {
    const uint32_t callers = callers_.load(std::memory_order_seq_cst);
    if (callers == kStopping) break;
    futex_wait(callers_, callers, UINT64_MAX);
  }
  if (!std::exchange(io_started_, false)) return;
  wake_io();
  pthread_join(io_thread_, nullptr);
}

bool LoopThread::ended(const WaitFlag& flag, Woken* woken) const {
  if (flag.is_set()) {
    *woken = Woken::flag;
  } else if (poisoned()) {
    *woken = Woken::poisoned;
  } else if (stopping()) {
    *woken = Woken::stopped;
  } else {
    return false;
  }
  return true;
}

LoopThread::Woken LoopThread::drive_until(WaitFlag& flag, uint64_t deadline_ns, uint64_t spin_ns,
                                          OnSignal on_signal) {
  Inside inside(*this);
  bool slept = false;
  Woken woken = Woken::flag;
  while (!ended(flag, &woken)) {
    if (Loop::Drive seat = take_seat(spin_ns)) {
      return drive(std::move(seat), flag, deadline_ns, spin_ns, on_signal);
    }
    slept = true;
    const FutexEnd end = sleep(flag, deadline_ns);
    if (end == FutexEnd::changed || flag.is_set()) continue;
    if (end == FutexEnd::interrupted && on_signal == OnSignal::go_on) continue;
    woken = end == FutexEnd::deadline ? Woken::deadline : Woken::signal;
    break;
  }
  // The seat may have been offered to us just before we gave up: hand it on.
  if (slept && !loop_.driven()) {
    if (Loop::Drive seat = loop_.try_drive()) leave(std::move(seat));
  }
  return woken;
}

// Nobody gets the seat from another caller before that one leaves. The I/O thread gives it up at
// the end of its turn, and a submitter holds it for a microsecond: for these a short spin is
// cheaper than sleeping.
Loop::Drive LoopThread::take_seat(uint64_t spin_ns) {
  Loop::Drive seat = loop_.try_drive();
  if (seat || lent_.load(std::memory_order_relaxed) || spin_ns == 0) return seat;
  seat_wanted_.fetch_add(1, std::memory_order_seq_cst);
  loop_.wake();
  const uint64_t end_ns = clock_.now_ns() + spin_ns;
  while (!lent_.load(std::memory_order_relaxed) && clock_.now_ns() < end_ns) {
    for (int i = 0; i < 16; ++i) spin_pause();
    if (!loop_.driven()) {
      seat_wanted_.fetch_sub(1, std::memory_order_seq_cst);
      return loop_.try_drive();
    }
  }
  seat_wanted_.fetch_sub(1, std::memory_order_seq_cst);
  return Loop::Drive();
}

LoopThread::Woken LoopThread::drive(Loop::Drive seat, WaitFlag& flag, uint64_t deadline_ns,
                                    uint64_t spin_ns, OnSignal on_signal) {
  begin_session();
  uint32_t state = WaitFlag::kClear;
  flag.state_.compare_exchange_strong(state, WaitFlag::kDriving, std::memory_order_seq_cst);
  Woken woken = Woken::deadline;
  guarded([&] {
    bool late = false;
    while (!ended(flag, &woken) && !late) {
      loop_.turn_until(deadline_ns, spin_ns);
      late = loop_.turned_ns() >= deadline_ns;
      if (loop_.interrupted() && on_signal == OnSignal::come_back) {
        woken = Woken::signal;
        return;
      }
    }
  });
  state = WaitFlag::kDriving;
  flag.state_.compare_exchange_strong(state, WaitFlag::kClear, std::memory_order_seq_cst);
  end_session();
  leave(std::move(seat));
  if (flag.is_set()) return Woken::flag;
  return poisoned() ? Woken::poisoned : woken;
}

// Sleeps until the flag is set, the seat is free or the deadline is reached.
FutexEnd LoopThread::sleep(WaitFlag& flag, uint64_t deadline_ns) {
  {
    std::lock_guard lock(sleepers_mutex_);
    sleepers_list_.push_back(flag);
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
  }
  FutexEnd end = FutexEnd::changed;
  uint32_t state = WaitFlag::kClear;
  if (flag.state_.compare_exchange_strong(state, WaitFlag::kAsleep, std::memory_order_seq_cst)) {
    // The driver looks for sleepers after it let go: look for a driver after lying down.
    if (loop_.driven() && !stopping() && !poisoned()) {
      end = futex_wait(flag.state_, WaitFlag::kAsleep, deadline_ns);
    }
    state = WaitFlag::kAsleep;
    flag.state_.compare_exchange_strong(state, WaitFlag::kClear, std::memory_order_seq_cst);
  }
  std::lock_guard lock(sleepers_mutex_);
  if (flag.linked()) {
    flag.unlink();
    sleepers_.fetch_sub(1, std::memory_order_seq_cst);
  }
  return end;
}

void LoopThread::begin_session() {
  lent_.store(true, std::memory_order_seq_cst);
  sessions_.fetch_add(1, std::memory_order_relaxed);
}

void LoopThread::end_session() {
  last_leave_ns_.store(clock_.now_ns(), std::memory_order_release);
  lent_.store(false, std::memory_order_seq_cst);
}

// Lets go of the seat and sees to it that what is left to do has somebody to do it: a sleeping
// caller if there is one, else the I/O thread.
void LoopThread::leave(Loop::Drive&& seat) {
  constexpr int kMailRoundsMax = 4;
  bool unfinished = false;
  uint64_t timer_ns = 0;
  for (int round = 0; round < kMailRoundsMax; ++round) {
    // To run mail here is cheaper than to wake somebody for it.
    if (loop_.has_mail() && !poisoned()) guarded([&] { loop_.run_queued(); });
    unfinished = loop_.has_completions();
    // The I/O thread sleeps until it is woken, so what comes from now on must wake it. (In its
    // other states it looks by itself, soon.) It watches only after it had the seat.
    if (io_state_.load(std::memory_order_seq_cst) == kWatching && !poisoned()) {
      unfinished |= !loop_.arm_pollers();
    }
    timer_ns = loop_.next_timer_ns();
    seat.release();
    if (poisoned()) return;
    if (!loop_.has_mail()) break;
    seat = loop_.try_drive();
    if (!seat) return;  // whoever has it comes through here
  }
  seat.release();
  // A sleeper that takes the seat, or gives it up again, comes through here too.
  if (sleepers_.load(std::memory_order_seq_cst) > 0 && offer_seat()) return;
  const uint32_t io = io_state_.load(std::memory_order_seq_cst);
  const bool timer_early =
      io == kWatching && timer_ns < watch_until_ns_.load(std::memory_order_relaxed);
  if (unfinished || timer_early || io == kResting || loop_.has_mail()) wake_io();
}

// Wakes the sleeper that waited longest, to drive. False if there is none.
bool LoopThread::offer_seat() {
  std::lock_guard lock(sleepers_mutex_);
  while (WaitFlag* flag = sleepers_list_.pop_front()) {
    sleepers_.fetch_sub(1, std::memory_order_seq_cst);
    uint32_t state = WaitFlag::kAsleep;
    const bool offered =
        flag->state_.compare_exchange_strong(state, WaitFlag::kClear, std::memory_order_seq_cst);
    if (offered) futex_wake_one(flag->state_);
    // About to lie down, it looks for a driver first. Set, it leaves without the seat: next one.
    if (offered || state == WaitFlag::kClear) return true;
  }
  return false;
}

// Under the mutex a sleeper cannot go away.
void LoopThread::wake_sleepers() {
  std::lock_guard lock(sleepers_mutex_);
  for (WaitFlag* flag = sleepers_list_.front(); flag != nullptr;
       flag = sleepers_list_.next(*flag)) {
    uint32_t state = WaitFlag::kAsleep;
    if (flag->state_.compare_exchange_strong(state, WaitFlag::kClear, std::memory_order_seq_cst)) {
      futex_wake_one(flag->state_);
    }
  }
}

void LoopThread::poll() {
  Inside inside(*this);
  if (poisoned() || stopping()) return;
  Loop::Drive seat = loop_.try_drive();
  if (!seat) return;
  begin_session();
  guarded([&] { loop_.turn(0); });
  end_session();
  leave(std::move(seat));
}

bool LoopThread::submit(Mail& mail) {
  Inside inside(*this);
  if (poisoned() || stopping()) return false;
  Loop::Drive seat = loop_.try_drive();
  if (!seat) {
    loop_.post(mail);  // wakes the driver if it is asleep
    return true;
  }
  guarded([&] { loop_.run_now(mail); });
  leave(std::move(seat));
  return true;
}

bool LoopThread::submit(std::move_only_function<void()> job) {
  Inside inside(*this);
  if (poisoned() || stopping()) return false;
  Loop::Drive seat = loop_.try_drive();
  if (!seat) {
    loop_.post(std::move(job));
    return true;
  }
  guarded([&] {
    loop_.run_queued();
    job();
    loop_.run_queued();
  });
  leave(std::move(seat));
  return true;
}

void LoopThread::poison(const CheckFailure& failure) {
  if (poisoned_.exchange(true, std::memory_order_seq_cst)) return;
  GD2FS_LOG_ERROR("{}: a check failed at {}; the loop is given up", options_.name, failure.where);
  if (options_.on_poisoned) options_.on_poisoned(failure);
  wake_sleepers();
}

// The I/O thread sleeps on its futex although nobody drives.
void LoopThread::unpark_io() {
  io_kicked_.store(true, std::memory_order_seq_cst);
  uint32_t state = io_state_.load(std::memory_order_seq_cst);
  if (state != kGuarding && state != kResting) return;
  if (io_state_.compare_exchange_strong(state, kRunning, std::memory_order_seq_cst)) {
    futex_wake_one(io_state_);
  }
}

void LoopThread::wake_io() {
  unpark_io();
  if (io_state_.load(std::memory_order_seq_cst) == kWatching) loop_.wake();
}

}  // namespace gd2fs
