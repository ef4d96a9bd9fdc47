// CompletionQueue: finished requests on their way to the threads that reap them.
//
// The loop pushes; any number of threads wait. A waiter drives the loop itself while nobody else
// does (LoopThread), so at depth 1 the thread that asks is the thread that receives. Each push
// wakes at most one waiter, and a waiter that leaves finished requests behind wakes the next. The
// descriptor is an eventfd that is readable exactly while something waits; it is made when first
// asked for, so that who does not poll pays no system call. Bounded by the slots. Any thread.
#pragma once

#include <cstdint>
#include <mutex>
#include <span>

#include "base/list.h"
#include "base/status.h"
#include "loop/loop_thread.h"
#include "loop/small_mutex.h"

namespace gd2fs::client {

class CompletionQueue {
 public:
  // What lies in a queue. The queue does not own it.
  struct FinishedTag;
  struct Finished : ListNode<FinishedTag> {};

  explicit CompletionQueue(LoopThread& thread) : thread_(thread) {}
  ~CompletionQueue();
  CompletionQueue(const CompletionQueue&) = delete;
  CompletionQueue& operator=(const CompletionQueue&) = delete;

  void push(Finished& finished);
  // Takes up to out.size() of them without waiting.
  size_t take(std::span<Finished*> out);
  // Waits for the first one until deadline_ns of the clock (UINT64_MAX: for ever; 0: not at all).
  // 0 when the time passed; canceled when the queue is closed; io when the loop is poisoned and
  // nothing is left.
  Result<size_t> wait(std::span<Finished*> out, uint64_t deadline_ns);
  // Waiters come back with canceled, now and for ever.
  void close();
  // -1 and errno's Status when there are no descriptors left.
  Result<int> fd();
  // Without the lock: for the child of a fork, where nobody else runs.
  int fd_in_child() const { return fd_; }

 private:
  struct Waiter : ListNode<> {
    explicit Waiter(LoopThread& thread) : flag(thread) {}
    WaitFlag flag;
  };
  bool polled_by_fd();
  size_t take_locked(std::span<Finished*> out);
  void wake_one_locked();
  void signal_locked();
  void unsignal_locked();

  LoopThread& thread_;
  SmallMutex mutex_;
  List<Finished, FinishedTag> finished_;
  List<Waiter> waiters_;
  bool closed_ = false;
  int fd_ = -1;
  bool signaled_ = false;
};

}  // namespace gd2fs::client
