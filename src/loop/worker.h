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
