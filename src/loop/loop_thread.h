// LoopThread: a loop that is lent, and the I/O thread that drives it when nobody borrows it.
//
// At queue depth 1 over TCP a thread switch costs more than the request. So the thread that waits
// for an answer drives the loop itself (drive_until), and a thread that submits while nobody drives
// runs its job on the loop at once (submit). Any number of threads may do either at any time: one
// holds the seat, the others sleep on a futex until their own flag is set or the seat is free.
//
// The I/O thread never holds the seat while it sleeps. It is in one of four states:
//   running   it drives, or is about to look;
//   watching  nobody drives: it sleeps in poll() on the loop's epoll fd, until the next timer;
//   guarding  callers drive back to back: it sleeps on a futex for a short time that doubles up to
//             kGuardMaxNs while they keep at it, so that events do not wake it. Wakened, it takes
//             over if nobody has driven for kHandOverNs;
//   resting   one caller has driven for several guard periods (asleep in epoll): no limit, and the
//             caller wakes it when it leaves.
// So work in flight is always driven by somebody, at the latest 2 * kGuardMaxNs after the last
// caller left without a word, and an idle process is never woken.
// docs/decisions/003-lent-loop.md has the reasons and the numbers.
//
// A CheckFailure thrown in a turn poisons the loop: it is never turned again, on_poisoned runs
// once, waiters come back with `poisoned`. Signals are blocked in the I/O thread.
#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <pthread.h>
#include <string>

#include "base/check.h"
#include "base/list.h"
#include "loop/futex.h"
#include "loop/loop.h"

namespace gd2fs {

class LoopThread;

// What one thread waits for. Made by the waiter, set once by any thread, usually from the loop.
// The setter must not outlive the LoopThread, and may not touch the flag after set() began, because
// the waiter may be gone by then.
class WaitFlag : public ListNode<> {
 public:
  explicit WaitFlag(LoopThread& thread) : thread_(thread) {}
  void set();
  bool is_set() const { return state_.load(std::memory_order_acquire) == kSet; }
  void reset() { state_.store(kClear, std::memory_order_relaxed); }  // the waiter, when not waiting

 private:
  friend class LoopThread;
  enum : uint32_t { kClear, kSet, kAsleep, kDriving };
  LoopThread& thread_;
  std::atomic<uint32_t> state_{kClear};
};

class LoopThread {
 public:
  static constexpr uint64_t kSpinNs = 50 * kUs;
  static constexpr uint64_t kHandOverNs = 200 * kUs;
  static constexpr uint64_t kGuardMaxNs = 2 * kMs;

  struct Options {
    std::string name = "gd2fs-io";  // of the I/O thread, <= 15 characters, for ps and gdb
    uint64_t spin_ns = kSpinNs;     // of the I/O thread; callers bring their own
    // Runs once, on the thread that drove, which still holds the seat: end what is in flight
    // without touching the loop.
    std::function<void(const CheckFailure&)> on_poisoned;
  };
  // Starts the I/O thread. The clock must be the real one: sleeps are timed by the kernel.
  static Result<std::unique_ptr<LoopThread>> start(RealClock& clock, Options options);
  ~LoopThread();  // stops
  LoopThread(const LoopThread&) = delete;
  LoopThread& operator=(const LoopThread&) = delete;

  // Touch it only from jobs and callbacks that run on it, or after stop().
  Loop& loop() { return loop_; }

  enum class Woken : uint8_t { flag, deadline, signal, stopped, poisoned };
  enum class OnSignal : uint8_t { go_on, come_back };
  // Waits until the flag is set, driving the loop meanwhile if nobody else does. deadline_ns is a
  // time of the clock, UINT64_MAX for none. With come_back a handled signal ends the wait too (for
  // Python, whose handlers run only between calls). A flag that is set always wins.
  Woken drive_until(WaitFlag& flag, uint64_t deadline_ns, uint64_t spin_ns = kSpinNs,
                    OnSignal on_signal = OnSignal::go_on);
  // Turns the loop once without waiting, unless somebody else drives.
  void poll();

  // Runs the job on the loop: at once, on this thread, if nobody drives; else posts it. Jobs of one
  // thread run in the order submitted. False if stopped or poisoned: the job will not run.
  bool submit(Mail& mail);
  bool submit(std::move_only_function<void()> job);

  // Ends all waits with `stopped`, waits until no caller is inside, and ends the I/O thread. Jobs
  // not run by then wait in the loop, which is now the stopper's alone. Not from the loop.
  // Idempotent.
  void stop();
  bool poisoned() const { return poisoned_.load(std::memory_order_acquire); }

 private:
  friend class WaitFlag;
  enum : uint32_t { kRunning, kWatching, kGuarding, kResting };  // io_state_
  class Inside;

  LoopThread(RealClock& clock, Options options);
  bool stopping() const { return (callers_.load(std::memory_order_seq_cst) & kStopping) != 0; }

  // The callers' side: loop_thread.cc.
  bool ended(const WaitFlag& flag, Woken* woken) const;
  Loop::Drive take_seat(uint64_t spin_ns);
  Woken drive(Loop::Drive seat, WaitFlag& flag, uint64_t deadline_ns, uint64_t spin_ns,
              OnSignal on_signal);
  FutexEnd sleep(WaitFlag& flag, uint64_t deadline_ns);
  void begin_session();
  void end_session();
  void leave(Loop::Drive&& seat);
  bool offer_seat();
  void wake_sleepers();
  void unpark_io();
  void wake_io();
  template <class Run>
  void guarded(Run run);
  void poison(const CheckFailure& failure);

  // The I/O thread's side: io_thread.cc.
  void io_main();
  void io_drive(Loop::Drive seat);
  void io_watch(Loop::Drive seat);
  void io_guard();
  bool io_park(uint32_t state, uint64_t deadline_ns);
  uint64_t since_last_leave_ns() const;

  RealClock& clock_;
  Options options_;
  Loop loop_;
  pthread_t io_thread_{};
  bool io_started_ = false;

  static constexpr uint32_t kStopping = 1U << 31;
  std::atomic<uint32_t> callers_{0};  // threads inside, and kStopping; a futex for stop()
  std::atomic<bool> poisoned_{false};
  std::atomic<uint32_t> sleepers_{0};  // in sleepers_list_
  std::mutex sleepers_mutex_;
  List<WaitFlag> sleepers_list_;

  // What the I/O thread reads to learn what the callers do.
  std::atomic<uint32_t> seat_wanted_{0};  // callers that look for the seat now
  std::atomic<bool> lent_{false};         // a caller drives
  std::atomic<uint64_t> sessions_{0};     // times that a caller drove
  std::atomic<uint64_t> last_leave_ns_{0};
  // What callers read to learn what the I/O thread does.
  std::atomic<uint32_t> io_state_{kRunning};  // a futex
  std::atomic<bool> io_kicked_{false};        // look again before you sleep
  std::atomic<uint64_t> watch_until_ns_{0};   // while watching: when it wakes by itself
  // The I/O thread's own.
  uint64_t guard_ns_ = kHandOverNs;
  uint64_t asleep_from_ns_ = 0;
};

// Runs what turns the loop. A failed CHECK of library code ends here, not in the host's
// terminate().
template <class Run>
void LoopThread::guarded(Run run) {
  try {
    run();
  } catch (const CheckFailure& failure) {
    poison(failure);
  } catch (const std::exception& failure) {  // out of memory, most likely
    poison(CheckFailure{failure.what()});
  }
}

}  // namespace gd2fs
