// The I/O thread's side of LoopThread: it drives the loop when no caller does, and otherwise stays
// out of the callers' way.
#include <algorithm>
#include <poll.h>
#include <sched.h>
#include <utility>

#include "loop/loop_thread.h"

namespace gd2fs {

void LoopThread::io_main() {
  constexpr int kYieldsMax = 16;
  int yields = 0;
  while (!stopping()) {
    if (poisoned()) {
      io_park(kResting, UINT64_MAX);
    } else if (Loop::Drive seat = loop_.try_drive()) {
      yields = 0;
      if (const uint64_t from_ns = std::exchange(asleep_from_ns_, 0); from_ns != 0) {
        loop_.adaptive_spin().slept(clock_.now_ns() - from_ns, options_.spin_ns);
      }
      io_drive(std::move(seat));
    } else if (lent_.load(std::memory_order_seq_cst)) {
      yields = 0;
      io_guard();
    } else if (++yields <= kYieldsMax) {  // a submitter, gone in a microsecond
      sched_yield();
    } else {  // unless it was preempted
      yields = 0;
      io_park(kGuarding, clock_.now_ns() + kHandOverNs);
    }
  }
}

// Turns the loop until there is nothing to do or a caller wants the seat.
void LoopThread::io_drive(Loop::Drive seat) {
  guarded([&] {
    for (;;) {
      const size_t ran = loop_.turn(0, options_.spin_ns);
      if (ran == 0 && !loop_.has_completions()) return;
      if (stopping() || seat_wanted_.load(std::memory_order_seq_cst) > 0 ||
          sleepers_.load(std::memory_order_seq_cst) > 0) {
        return;
      }
    }
  });
  if (!poisoned() && !loop_.has_completions()) return io_watch(std::move(seat));
  leave(std::move(seat));
}

void LoopThread::io_watch(Loop::Drive seat) {
  if (!loop_.arm_pollers()) return leave(std::move(seat));  // something came this very moment
  const uint64_t until_ns = loop_.next_timer_ns();
  const uint64_t sessions = sessions_.load(std::memory_order_seq_cst);
  watch_until_ns_.store(until_ns, std::memory_order_relaxed);
  io_state_.store(kWatching, std::memory_order_seq_cst);
  seat.release();
  const bool wanted = seat_wanted_.load(std::memory_order_seq_cst) > 0 ||
                      (sleepers_.load(std::memory_order_seq_cst) > 0 && offer_seat());
  const bool kicked = io_kicked_.exchange(false, std::memory_order_seq_cst);
  if (wanted || kicked || stopping() || loop_.has_mail()) {
    io_state_.store(kRunning, std::memory_order_seq_cst);
    if (wanted) io_guard();
    return;
  }
  const uint64_t now = clock_.now_ns();
  const uint64_t timeout_ns = until_ns > now ? until_ns - now : 0;
  timespec timeout{};
  timeout.tv_sec = static_cast<time_t>(timeout_ns / kSecond);
  timeout.tv_nsec = static_cast<long>(timeout_ns % kSecond);
  pollfd epoll{.fd = loop_.epoll_fd(), .events = POLLIN, .revents = 0};
  ppoll(&epoll, 1, until_ns == UINT64_MAX ? nullptr : &timeout, nullptr);
  io_state_.store(kRunning, std::memory_order_seq_cst);
  if (io_kicked_.exchange(false, std::memory_order_seq_cst) || loop_.has_mail()) return;
  const bool caller_left =
      sessions_.load(std::memory_order_seq_cst) != sessions && since_last_leave_ns() < kHandOverNs;
  if (lent_.load(std::memory_order_seq_cst) || caller_left) return io_guard();
  asleep_from_ns_ = now;
}

uint64_t LoopThread::since_last_leave_ns() const {
  const uint64_t left_ns = last_leave_ns_.load(std::memory_order_acquire);  // before the clock
  return clock_.now_ns() - left_ns;
}

// Callers drive. Sleep through their events; come back when they have stopped.
void LoopThread::io_guard() {
  constexpr int kQuietPeriods = 3;  // of one session, before resting
  int quiet = 0;
  uint64_t period_ns = guard_ns_;
  while (!stopping() && !poisoned()) {
    const uint64_t sessions = sessions_.load(std::memory_order_seq_cst);
    if (io_park(kGuarding, clock_.now_ns() + period_ns)) return;
    const bool same = sessions_.load(std::memory_order_seq_cst) == sessions;
    if (lent_.load(std::memory_order_seq_cst)) {
      quiet = same ? quiet + 1 : 0;
      guard_ns_ = std::min(2 * guard_ns_, kGuardMaxNs);
      period_ns = guard_ns_;
      if (quiet < kQuietPeriods) continue;
      io_park(kResting, UINT64_MAX);
      quiet = 0;
      guard_ns_ = period_ns = kHandOverNs;
      continue;
    }
    const uint64_t idle_ns = since_last_leave_ns();
    if (idle_ns >= kHandOverNs) {
      guard_ns_ = kHandOverNs;
      return;
    }
    if (!same) guard_ns_ = std::min(2 * guard_ns_, kGuardMaxNs);
    period_ns = same ? kHandOverNs - idle_ns : guard_ns_;
  }
}

// Sleeps on the futex. True if somebody wants the I/O thread to look now.
bool LoopThread::io_park(uint32_t state, uint64_t deadline_ns) {
  io_state_.store(state, std::memory_order_seq_cst);
  bool sleep = !io_kicked_.exchange(false, std::memory_order_seq_cst) && !stopping();
  // Whoever lets go of a lent loop looks for `resting` afterwards.
  if (state == kResting) sleep = sleep && (lent_.load(std::memory_order_seq_cst) || poisoned());
  if (!sleep) {
    io_state_.store(kRunning, std::memory_order_seq_cst);
    return true;
  }
  while (io_state_.load(std::memory_order_seq_cst) == state) {
    if (futex_wait(io_state_, state, deadline_ns) == FutexEnd::deadline) break;
  }
  io_state_.store(kRunning, std::memory_order_seq_cst);
  return io_kicked_.exchange(false, std::memory_order_seq_cst);
}

}  // namespace gd2fs
