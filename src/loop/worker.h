// Worker: one named helper thread for what would block a loop (SQLite, fallocate, pinning, name
// look-ups). Jobs run one after another in the order given; each ends with a completion on its
// loop. In sim/ the InlineWorker runs the job at once on the one thread and queues its completion.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "loop/loop.h"

namespace gd2fs {

// Caller-owned. `run` does the blocking work on the worker and returns its Status.
struct Job : ListNode<> {
  std::move_only_function<Status()> run;
  Completion done;

 private:
  friend class ThreadWorker;
  friend class InlineWorker;
  Loop* loop_ = nullptr;
  Status result_;
  Mail mail_;
  void deliver();
};

class Worker {
 public:
  virtual ~Worker() = default;
  // From `loop`'s thread; job.done completes there. jobs_max waiting jobs, then busy.
  virtual void submit(Loop& loop, Job& job) = 0;
};

// Await a job inside a coroutine: `Status status = co_await OnWorker(loop, worker, [&] { ... });`
// As with any pending completion, the coroutine must not be dropped meanwhile.
class OnWorker {
 public:
  OnWorker(Loop& loop, Worker& worker, std::move_only_function<Status()> run)
      : loop_(loop), worker_(worker) {
    job_.run = std::move(run);
    job_.done.bind(this,
                   [](void* self, Completion&) { static_cast<OnWorker*>(self)->waiter_.resume(); });
  }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter) {
    waiter_ = waiter;
    worker_.submit(loop_, job_);
  }
  Status await_resume() const { return job_.done.status; }

 private:
  Loop& loop_;
  Worker& worker_;
  Job job_;
  std::coroutine_handle<> waiter_;
};

class InlineWorker final : public Worker {
 public:
  void submit(Loop& loop, Job& job) override;
};

class ThreadWorker final : public Worker {
 public:
  static constexpr size_t kJobsMax = 4096;
  explicit ThreadWorker(std::string name);  // <= 15 characters, for ps and gdb
  ~ThreadWorker() override;                 // runs what is queued, then joins
  void submit(Loop& loop, Job& job) override;

 private:
  void run();
  std::string name_;
  std::mutex mutex_;
  std::condition_variable wake_;
  List<Job> jobs_;
  size_t jobs_waiting_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace gd2fs
