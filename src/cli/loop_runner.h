// LoopRunner: a loop with a thread of its own, for the long-lived parts of a process, and a way for
// other threads to run a coroutine on it and wait for its answer.
//
// The loop is stopped and its thread joined by stop() or the destructor; what was built on the loop
// is destroyed before, by a coroutine run here.
#pragma once

#include <future>
#include <string>
#include <thread>

#include "loop/loop.h"

namespace gd2fs::cli {

class LoopRunner {
 public:
  // spin_ns: before it sleeps the loop looks for work so long, while that pays (AdaptiveSpin). A
  // thread that sleeps at every pause is woken on the core of the one that wakes it, so that client
  // and server on one machine take turns on one core and leave the other idle.
  LoopRunner(Clock& clock, const std::string& thread_name, uint64_t spin_ns = 0);
  ~LoopRunner();
  LoopRunner(const LoopRunner&) = delete;
  LoopRunner& operator=(const LoopRunner&) = delete;

  Loop& loop() { return loop_; }
  void stop();

  // Not from the loop's own thread.
  template <class T>
  T run(Task<T> task) {
    std::promise<T> promise;
    std::future<T> answer = promise.get_future();
    loop_.post([this, &task, &promise] { loop_.spawn(answer_with(std::move(task), &promise)); });
    return answer.get();
  }

 private:
  template <class T>
  static Task<void> answer_with(Task<T> task, std::promise<T>* promise) {
    T value = co_await std::move(task);
    promise->set_value(std::move(value));
  }

  Loop loop_;
  std::thread thread_;
};

}  // namespace gd2fs::cli
