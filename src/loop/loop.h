// Loop: one thread's worth of work: completions, timers, file descriptors, mail from other threads.
//
// A server has one loop per core; an object belongs to one loop and is touched only from it; other
// threads send mail. The loop owns no thread: somebody drives it. run() drives it until stop();
// a client's loop is *lent*: a thread in wait() takes the right to drive with try_drive() and turns
// it itself, while the I/O thread sleeps (see loop_thread.h). In sim/ nobody waits: the simulator
// calls run_ready() and moves the clock to next_timer_ns().
//
// Order: completions (but complete_first()) and mail as queued; timers by deadline, then start
// order. Nothing runs inside the call that queued it.
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include <sys/epoll.h>

#include "base/list.h"
#include "loop/adaptive_spin.h"
#include "loop/clock.h"
#include "loop/completion.h"
#include "loop/task.h"

namespace gd2fs {

class Loop;

// Fires once at its deadline unless canceled. Caller-owned; cancels itself when destroyed.
class Timer {
 public:
  Timer() = default;
  ~Timer() {
    if (loop_ != nullptr) cancel();
  }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  template <auto Method, class T>
  void bind(T* owner) {
    fired.bind<Method>(owner);
  }
  bool running() const { return heap_index_ != kNotRunning; }

  Completion fired;

 private:
  friend class Loop;
  static constexpr size_t kNotRunning = SIZE_MAX;
  void cancel();
  Loop* loop_ = nullptr;
  uint64_t deadline_ns_ = 0;
  uint64_t order_ = 0;
  size_t heap_index_ = kNotRunning;
};

// A file descriptor watched for readiness. Level-triggered; `events` are EPOLLIN | EPOLLOUT ...
// The callback runs from the loop's turn. Unwatch before closing the fd.
class Watch {
 public:
  template <auto Method, class T>
  void bind(T* owner) {
    owner_ = owner;
    run_ = [](void* o, uint32_t events) { (static_cast<T*>(o)->*Method)(events); };
  }
  bool watched() const { return fd_ >= 0; }
  uint32_t events() const { return events_; }

 private:
  friend class Loop;
  void* owner_ = nullptr;
  void (*run_)(void*, uint32_t) = nullptr;
  int fd_ = -1;
  uint32_t events_ = 0;
};

// A job for a loop from another thread. Intrusive: the sender owns it until it has run.
class Mail {
 public:
  template <auto Method, class T>
  void bind(T* owner) {
    owner_ = owner;
    run_ = [](void* o) { (static_cast<T*>(o)->*Method)(); };
  }

 private:
  friend class Loop;
  void* owner_ = nullptr;
  void (*run_)(void*) = nullptr;
  void (*drop_)(void*) = nullptr;  // frees mail that owns itself and will never run
  Mail* next_ = nullptr;
  std::atomic<bool> posted_{false};
};

// A source of work in memory that another process writes, a ring for example: looked at in every
// turn and between two looks at the fds while the loop spins, which costs no system call. While the
// loop sleeps, or is not driven and nobody will come by soon, it is armed: its peer must then make
// a watched fd readable, or have started a timer. The loop's thread only.
struct PollerTag;
class Poller : public ListNode<PollerTag> {
 public:
  // Does what there is to do, if anything; how much it did.
  virtual size_t poll() = 0;
  // False: there is something to do already, so do not sleep.
  virtual bool arm() = 0;
  virtual void disarm() = 0;

 protected:
  ~Poller() = default;
};

class Loop {
 public:
  enum class Waits { epoll, never };  // never: for sim/, no file descriptors
  Loop(Clock& clock, Waits waits);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  Clock& clock() { return clock_; }
  uint64_t now_ns() { return clock_.now_ns(); }

  // --- loop thread only ---
  // Ends a started completion: its method runs later in this or the next turn.
  void complete(Completion& done, Status status, uint64_t value = 0);
  // Runs it here and now. Only for a leaf that the loop has called, as the last thing which it does
  // for this completion: the method may call anything back, and destroy whoever waited.
  static void complete_here(Completion& done, Status status);
  // As complete(), but it runs before what is queued by complete(), in the order of these calls:
  // for the little that keeps a device busy while this loop has much to do.
  void complete_first(Completion& done, Status status, uint64_t value = 0);
  // The same as complete(), but the fds have their turn before: for work that continues itself
  // again and again.
  void complete_after_fds(Completion& done, Status status);
  // The same as complete(), but the pollers have their turn before, in run_queued() too: for work
  // in several parts whose first one may be answered already.
  void complete_after_pollers(Completion& done, Status status);
  // Takes back what one of these has queued, if it has not run: its method does not run then.
  void take_back(Completion& queued) {
    queued.unlink();
    queued.pending_ = false;
  }
  // The same for mail, which nobody posts any more: before its owner goes.
  void take_back(Mail& mail);
  // Starts, or restarts with a new deadline.
  void start(Timer& timer, uint64_t delay_ns);
  void start_at(Timer& timer, uint64_t deadline_ns);
  void cancel(Timer& timer);  // afterwards its method does not run
  Status watch(Watch& watch, int fd, uint32_t events);
  void rewatch(Watch& watch, uint32_t events);
  void unwatch(Watch& watch);
  void add(Poller& poller) {
    pollers_.push_back(poller);
    armed_ = false;
  }
  void remove(Poller& poller);  // before it is destroyed
  // Until then turn() looks for work again and again instead of sleeping, if it may sleep: more is
  // about to come, and whoever brings it would wake the loop late (decision 024). Of several times
  // the last one counts.
  void stay_awake_until(uint64_t time_ns) { awake_until_ns_ = std::max(awake_until_ns_, time_ns); }
  // Runs a coroutine to its end; the loop owns it. At destruction unfinished ones are dropped.
  void spawn(Task<void> task);
  size_t spawned() const { return spawned_.size(); }

  // --- any thread ---
  // Queues mail and wakes the driver. A mail already posted and not yet run stays posted once.
  void post(Mail& mail);
  // The convenient form for control paths; allocates.
  void post(std::move_only_function<void()> job);
  // Makes the thread that waits in turn(), or is about to, return.
  void wake();
  bool on_loop_thread() const { return driver_.load(std::memory_order_relaxed) == this_thread(); }

  // --- the driver ---
  // Runs all that is ready now (mail, due timers, fd events without waiting, completions) and
  // returns how many callbacks ran.
  size_t run_ready();
  // Runs mail and completions that are queued, without a look at fds and timers; at pollers only
  // if something waits for their turn.
  size_t run_queued();
  // The same with this mail behind all that is queued, as if it had been posted.
  size_t run_now(Mail& mail);
  // Like run_ready, but with nothing ready it first looks again for up to spin_ns, if spinning paid
  // off lately (see AdaptiveSpin), and then sleeps up to timeout_ns (UINT64_MAX: no limit; 0: not
  // at all) until something is.
  size_t turn(uint64_t timeout_ns, uint64_t spin_ns = 0);
  // The same, but it sleeps up to a time of the clock (UINT64_MAX: no limit; in the past: not at
  // all). Whether it has come turned_ns() tells: when the last turn began, by the look at the clock
  // that every turn takes.
  size_t turn_until(uint64_t deadline_ns, uint64_t spin_ns);
  uint64_t turned_ns() const { return turned_ns_; }
  void run(uint64_t spin_ns = 0);  // turns until stop(), with the right to drive
  void stop();                     // any thread
  // The earliest timer, UINT64_MAX if none.
  uint64_t next_timer_ns() const;
  // Completions are queued; only turning the loop runs them.
  bool has_completions() const {
    return !first_.empty() || !completions_.empty() || !after_fds_.empty() ||
           !after_pollers_.empty();
  }
  // Before the driver lets go of the loop and nobody will turn it soon. False: a poller has work.
  bool arm_pollers();
  // A signal handler ended the sleep of the last turn().
  bool interrupted() const { return interrupted_; }
  AdaptiveSpin& adaptive_spin() { return spin_; }

  // Lending. The holder of a Drive is the loop's thread until it lets go. Whoever lets go must then
  // look at has_mail(): what was posted a moment before woke nobody.
  class Drive {
   public:
    Drive() = default;
    Drive(Drive&& other) noexcept : loop_(std::exchange(other.loop_, nullptr)) {}
    Drive& operator=(Drive&& other) noexcept {
      release();
      loop_ = std::exchange(other.loop_, nullptr);
      return *this;
    }
    ~Drive() { release(); }
    explicit operator bool() const { return loop_ != nullptr; }
    void release();

   private:
    friend class Loop;
    explicit Drive(Loop* loop) : loop_(loop) {}
    Loop* loop_ = nullptr;
  };
  Drive try_drive();
  // --- any thread, for the lender ---
  bool driven() const { return driver_.load(std::memory_order_seq_cst) != nullptr; }
  bool has_mail() const { return mail_.load(std::memory_order_seq_cst) != nullptr; }
  int epoll_fd() const { return epoll_fd_; }  // readable when turn() would find an fd event or mail
  // Called by wake() when nobody drives, so that the lender can send somebody. Set it before other
  // threads know the loop.
  void on_wake_undriven(void* owner, void (*run)(void*)) {
    wake_owner_ = owner;
    wake_run_ = run;
  }

 private:
  friend class Timer;
  struct Spawned;
  bool timer_before(size_t a, size_t b) const;
  void timer_swap(size_t a, size_t b);
  void timer_up(size_t index);
  void timer_down(size_t index);
  void push(Mail& mail);
  size_t run_mail();
  size_t run_timers(uint64_t now_ns);
  size_t run_fds(uint64_t timeout_ns);
  size_t run_completions();
  void take_after_fds();
  void take_after_pollers();
  size_t run_pollers();
  void disarm_pollers();
  int wait_for_fds(uint64_t timeout_ns);
  size_t spin_for_fds(uint64_t window_ns, bool* found);
  size_t wait_for_work(uint64_t deadline_ns, uint64_t spin_ns, uint64_t now_ns);
  static const void* this_thread();

  Clock& clock_;
  int epoll_fd_ = -1;
  int wake_fd_ = -1;
  static constexpr int kFdsPerTurn = 64;
  epoll_event ready_[kFdsPerTurn];
  int ready_count_ = 0;
  bool interrupted_ = false;
  AdaptiveSpin spin_;
  uint64_t awake_until_ns_ = 0;
  List<Poller, PollerTag> pollers_;
  Poller* next_poller_ = nullptr;  // behind the one that has its turn
  bool armed_ = false;             // all of them
  uint32_t fds_skipped_ = 0;       // turns since the last look at the fds
  uint64_t turned_ns_ = 0;
  uint64_t fds_looked_ns_ = 0;  // when a turn began that looked at them
  List<Completion> first_;      // run before completions_
  List<Completion> completions_;
  List<Completion> after_fds_;  // join completions_ when the fds have been looked at
  List<Completion> after_pollers_;
  std::vector<Timer*> timers_;  // binary heap by (deadline, order)
  uint64_t timer_order_ = 0;
  std::atomic<Mail*> mail_{nullptr};  // a stack; reversed when taken
  Mail* taken_mail_ = nullptr;        // taken and not yet run
  // Whoever posts must wake somebody: the driver sleeps, or let go of the loop.
  std::atomic<bool> sleeping_{false};
  std::atomic<bool> woken_{false};  // wake() was called since the last sleep
  std::atomic<bool> stopping_{false};
  std::atomic<const void*> driver_{nullptr};  // this_thread() of the holder of the Drive
  void* wake_owner_ = nullptr;
  void (*wake_run_)(void*) = nullptr;
  std::vector<std::unique_ptr<Spawned>> spawned_;
};

// Await a delay inside a coroutine: `co_await Delay(loop, 5 * kMs);`
class Delay {
 public:
  Delay(Loop& loop, uint64_t delay_ns) : loop_(loop), delay_ns_(delay_ns) {
    timer_.fired.bind(this,
                      [](void* self, Completion&) { static_cast<Delay*>(self)->waiter_.resume(); });
  }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter) {
    waiter_ = waiter;
    loop_.start(timer_, delay_ns_);
  }
  void await_resume() const noexcept {}

 private:
  Loop& loop_;
  uint64_t delay_ns_;
  Timer timer_;
  std::coroutine_handle<> waiter_;
};

}  // namespace gd2fs
