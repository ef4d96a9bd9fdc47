// What one turn of a loop does: mail, timers, completions, pollers, file descriptors; and how it
// waits when there is nothing.
#include <algorithm>
#include <cerrno>
#include <climits>
#include <ctime>
#include <sched.h>
#include <unistd.h>

#include <sys/epoll.h>
#include <sys/syscall.h>

#include "loop/loop.h"

namespace gd2fs {

// Inline, as the next two: a turn asks each of them twice, mostly in vain.
inline size_t Loop::run_mail() {
  if (taken_mail_ == nullptr && mail_.load(std::memory_order_relaxed) == nullptr) return 0;
  if (taken_mail_ == nullptr) {
    Mail* stack = mail_.exchange(nullptr, std::memory_order_acq_rel);
    while (stack != nullptr) {
      Mail* next = stack->next_;
      stack->next_ = taken_mail_;
      taken_mail_ = stack;
      stack = next;
    }
  }
  size_t ran = 0;
  while (taken_mail_ != nullptr) {
    Mail* mail = taken_mail_;
    taken_mail_ = mail->next_;
    mail->next_ = nullptr;
    mail->posted_.store(false, std::memory_order_release);
    mail->run_(mail->owner_);  // may free the mail
    ++ran;
  }
  return ran;
}

inline size_t Loop::run_timers(uint64_t now_ns) {
  if (now_ns < next_timer_ns()) return 0;
  size_t ran = 0;
  while (!timers_.empty() && timers_.front()->deadline_ns_ <= now_ns) {
    Timer& timer = *timers_.front();
    cancel(timer);
    complete(timer.fired, Status());
    ++ran;
  }
  return ran;
}

inline size_t Loop::run_completions() {
  if (completions_.empty() && first_.empty()) return 0;
  size_t ran = 0;
  // Those queued meanwhile run too, but not for ever: fds and mail must get their turn.
  constexpr size_t kCompletionsPerTurn = 1024;
  while (ran < kCompletionsPerTurn) {
    Completion* done = first_.empty() ? completions_.pop_front() : first_.pop_front();
    if (done == nullptr) break;
    done->pending_ = false;
    done->run_(done->owner_, *done);
    ++ran;
  }
  return ran;
}

void Loop::take_after_fds() {
  while (Completion* done = after_fds_.pop_front()) completions_.push_back(*done);
}

void Loop::take_after_pollers() {
  while (Completion* done = after_pollers_.pop_front()) completions_.push_back(*done);
}

namespace {

// Past the C library, whose own are cancellation points: a thread of the application that drives
// the loop and is canceled must not end in the middle of a turn. (And they cost 75 instructions
// more.)
int wait_ms(int epoll_fd, epoll_event* ready, int ready_max, int timeout_ms) {
  return static_cast<int>(
      syscall(SYS_epoll_pwait, epoll_fd, ready, ready_max, timeout_ms, nullptr, 0));
}

// Linux 5.11 knows nanoseconds. nullptr: for ever.
int wait_ns(int epoll_fd, epoll_event* ready, int ready_max, const timespec* timeout) {
  return static_cast<int>(
      syscall(SYS_epoll_pwait2, epoll_fd, ready, ready_max, timeout, nullptr, 0));
}

}  // namespace

int Loop::wait_for_fds(uint64_t timeout_ns) {
  if (timeout_ns == 0) return wait_ms(epoll_fd_, ready_, kFdsPerTurn, 0);
  const bool forever = timeout_ns == UINT64_MAX;
  // Older kernels and some containers refuse it.
  static std::atomic<bool> has_nanoseconds{true};
  if (has_nanoseconds.load(std::memory_order_relaxed)) {
    timespec timeout{};
    if (!forever) {
      timeout.tv_sec = static_cast<time_t>(timeout_ns / kSecond);
      timeout.tv_nsec = static_cast<long>(timeout_ns % kSecond);
    }
    const int count = wait_ns(epoll_fd_, ready_, kFdsPerTurn, forever ? nullptr : &timeout);
    if (count >= 0 || (errno != ENOSYS && errno != EPERM)) return count;
    has_nanoseconds.store(false, std::memory_order_relaxed);
  }
  const uint64_t timeout_ms = std::min<uint64_t>((timeout_ns - 1) / kMs + 1, INT_MAX);
  return wait_ms(epoll_fd_, ready_, kFdsPerTurn, forever ? -1 : static_cast<int>(timeout_ms));
}

size_t Loop::run_fds(uint64_t timeout_ns) {
  if (epoll_fd_ < 0) return 0;
  fds_skipped_ = 0;
  ready_count_ = wait_for_fds(timeout_ns);
  if (ready_count_ < 0) {
    CHECK(errno == EINTR);
    ready_count_ = 0;
    interrupted_ = true;
  }
  size_t ran = 0;
  for (int i = 0; i < ready_count_; ++i) {
    if (ready_[i].data.ptr == &wake_fd_) {
      uint64_t count = 0;
      [[maybe_unused]] ssize_t got = read(wake_fd_, &count, sizeof count);
      continue;
    }
    auto* watch = static_cast<Watch*>(ready_[i].data.ptr);
    if (watch == nullptr) continue;  // unwatched by a callback of this turn
    watch->run_(watch->owner_, ready_[i].events);
    ++ran;
  }
  ready_count_ = 0;
  return ran;
}

// Armed already, they were quiet then, and whoever came since has rung a bell. One that was not has
// rung none: it is found by the next look, and if that is to be a sleep, by asking again.
bool Loop::arm_pollers() {
  if (armed_) return true;
  armed_ = true;
  bool quiet = true;
  for (Poller* poller = pollers_.front(); poller != nullptr; poller = pollers_.next(*poller)) {
    quiet &= poller->arm();
  }
  if (!quiet) disarm_pollers();
  return quiet;
}

void Loop::disarm_pollers() {
  if (!armed_) return;
  armed_ = false;
  for (Poller* poller = pollers_.front(); poller != nullptr; poller = pollers_.next(*poller)) {
    poller->disarm();
  }
}

// Each once. What one of them does may take others away, and itself: remove() sees to it.
size_t Loop::run_pollers() {
  const bool armed = std::exchange(armed_, false);
  size_t ran = 0;
  for (Poller* poller = pollers_.front(); poller != nullptr; poller = next_poller_) {
    next_poller_ = pollers_.next(*poller);
    if (armed) poller->disarm();
    ran += poller->poll();
  }
  return ran;
}

void Loop::remove(Poller& poller) {
  if (!poller.linked()) return;
  if (next_poller_ == &poller) next_poller_ = pollers_.next(poller);
  poller.unlink();
}

size_t Loop::run_ready() {
  size_t ran = run_mail();
  ran += run_timers(now_ns());
  ran += run_pollers();
  ran += run_fds(0);
  take_after_fds();
  take_after_pollers();
  ran += run_completions();
  return ran;
}

size_t Loop::run_now(Mail& mail) {
  if (has_mail() || mail.posted_.load(std::memory_order_relaxed)) {
    post(mail);
    return run_queued();
  }
  armed_ = false;
  mail.run_(mail.owner_);  // may free the mail
  return 1 + run_queued();
}

size_t Loop::run_queued() {
  constexpr int kGivingWayMax = 64;  // then whoever turns the loop next goes on
  // What runs here may take bells away, or wait for more than was armed for.
  armed_ = false;
  size_t ran = run_mail();
  take_after_fds();
  ran += run_completions();
  for (int round = 0; !after_pollers_.empty() && round < kGivingWayMax; ++round) {
    ran += run_pollers();
    take_after_pollers();
    ran += run_completions();
  }
  return ran;
}

namespace {
// A look at the fds and giving way cost about a microsecond; so much time the pollers get before.
constexpr int kPollsPerLook = 8;
constexpr int kPausesPerPoll = 2;
// A busy loop with pollers looks at its fds in one turn of so many, and when so much time has
// passed: a turn may copy for 50 us.
constexpr uint32_t kFdsSkippedMax = 8;
constexpr uint64_t kFdsUnseenNs = 25 * kUs;
}  // namespace

// Looks at the fds again and again until the window or the next timer ends it, or mail or wake().
size_t Loop::spin_for_fds(uint64_t window_ns, bool* found) {
  const uint64_t from_ns = now_ns();
  const uint64_t end_ns = std::min(from_ns + window_ns, next_timer_ns());
  uint64_t now = from_ns;
  size_t ran = 0;
  bool called = false;
  while (ran == 0 && !called && now < end_ns) {
    for (int look = 0; !pollers_.empty() && look < kPollsPerLook && !has_mail(); ++look) {
      ran = run_pollers();
      if (ran > 0) break;
      for (int pause = 0; pause < kPausesPerPoll; ++pause) spin_pause();
    }
    if (ran == 0) ran = run_fds(0);
    called = has_mail() || woken_.load(std::memory_order_relaxed);
    // The peer may be waiting for this very core.
    if (ran == 0 && !called) sched_yield();
    now = now_ns();
  }
  // A timer that comes due within the window is what was looked for, too: its sleep would have been
  // late by the kernel's timer slack, 50 us.
  *found = ran > 0 || called || now >= next_timer_ns();
  return ran;
}

// The time is asked for once before and once behind the wait: it costs as much as a small callback.
size_t Loop::wait_for_work(uint64_t deadline_ns, uint64_t spin_ns, uint64_t now_ns) {
  const uint64_t idle_from_ns = now_ns;
  // A turn that may not sleep spins all the same; one whose time has come only looks.
  const bool late = deadline_ns != 0 && deadline_ns <= now_ns;
  const bool adapts = spin_ns > 0 && !late && spin_.worthwhile();
  uint64_t window_ns = adapts ? spin_ns : 0;
  if (deadline_ns != 0 && !late) window_ns = std::min(window_ns, deadline_ns - now_ns);
  const uint64_t awake_ns = std::min(awake_until_ns_, deadline_ns);
  if (awake_ns > now_ns) window_ns = std::max(window_ns, awake_ns - now_ns);
  if (window_ns > 0) {
    bool found = false;
    size_t ran = spin_for_fds(window_ns, &found);
    now_ns = clock_.now_ns();
    // (A window that the deadline made short is no measure of a lost time slice.)
    if (adapts) spin_.spun(found, now_ns - idle_from_ns, std::max(window_ns, spin_ns));
    if (ran > 0 || now_ns >= next_timer_ns()) {
      ran += run_mail();
      return ran + run_timers(now_ns);
    }
  }
  // Announce the sleep, then look: whoever posts or wakes does it the other way round. A poller
  // that is armed may start a timer.
  sleeping_.store(true, std::memory_order_seq_cst);
  const bool woken = woken_.exchange(false, std::memory_order_seq_cst);
  const bool quiet = deadline_ns <= now_ns || arm_pollers();
  const uint64_t timer_ns = next_timer_ns();
  const uint64_t until_ns = std::min(deadline_ns, timer_ns);
  uint64_t timeout_ns = until_ns > now_ns ? until_ns - now_ns : 0;
  if (until_ns == UINT64_MAX) timeout_ns = UINT64_MAX;
  size_t ran = run_fds(woken || has_mail() || !quiet ? 0 : timeout_ns);
  sleeping_.store(false, std::memory_order_relaxed);
  ran += run_pollers();
  now_ns = clock_.now_ns();
  if (spin_ns > 0 && timeout_ns > 0 && (ran > 0 || timer_ns <= now_ns)) {
    spin_.slept(now_ns - idle_from_ns, spin_ns);
  }
  ran += run_mail();
  return ran + run_timers(now_ns);
}

size_t Loop::turn(uint64_t timeout_ns, uint64_t spin_ns) {
  const bool to_a_time = timeout_ns != 0 && timeout_ns != UINT64_MAX;
  return turn_until(to_a_time ? now_ns() + timeout_ns : timeout_ns, spin_ns);
}

size_t Loop::turn_until(uint64_t deadline_ns, uint64_t spin_ns) {
  interrupted_ = false;
  size_t ran = run_mail();
  const uint64_t from_ns = now_ns();
  turned_ns_ = from_ns;
  ran += run_timers(from_ns);
  ran += run_completions();
  if (ran == 0 && !has_completions() && epoll_fd_ >= 0) {
    ran += wait_for_work(deadline_ns, spin_ns, from_ns);
  } else {
    ran += run_pollers();
    if (pollers_.empty() || !after_fds_.empty() || ++fds_skipped_ >= kFdsSkippedMax ||
        from_ns - fds_looked_ns_ >= kFdsUnseenNs) {
      fds_looked_ns_ = from_ns;
      ran += run_fds(0);
    }
  }
  take_after_fds();
  take_after_pollers();
  ran += run_completions();
  return ran;
}

void Loop::run(uint64_t spin_ns) {
  Drive drive = try_drive();
  CHECK(drive);
  while (!stopping_.load(std::memory_order_acquire)) turn(UINT64_MAX, spin_ns);
}

}  // namespace gd2fs
