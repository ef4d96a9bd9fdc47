// Detached: a job on a worker that a coroutine awaits, and that may outlast it. What it made is
// dropped on the loop if nobody wants it any more.
//
//   Detached<int> made(loop, worker, [] -> Result<int> { return 7; });
//   Await& ended = made.ended();
//   co_await ended;                  // its status says nothing
//   Result<int> result = made.take();
//
// One loop, which turns until the job is back; else the job's memory is lost.
#pragma once

#include <optional>

#include "loop/worker.h"

namespace gd2fs {

template <class T>
class Detached {
 public:
  Detached(Loop& loop, Worker& worker, std::move_only_function<Result<T>()> run)
      : state_(new State) {
    state_->run = std::move(run);
    state_->job.run = [state = state_]() -> Status {
      state->result.emplace(state->run());
      return {};
    };
    state_->job.done.template bind<&State::on_done>(state_);
    state_->loop = &loop;
    state_->waiter = &ended_.done();
    state_->waiter->start();
    worker.submit(loop, state_->job);
  }
  ~Detached() {
    state_->waiter = nullptr;
    if (state_->over) delete state_;
  }
  Detached(const Detached&) = delete;
  Detached& operator=(const Detached&) = delete;
  Await& ended() { return ended_; }
  Result<T> take() { return std::move(*state_->result); }

 private:
  struct State {
    Job job;
    std::move_only_function<Result<T>()> run;
    std::optional<Result<T>> result;
    Loop* loop = nullptr;
    Completion* waiter = nullptr;
    bool over = false;
    void on_done(Completion& done) {
      over = true;
      if (!result.has_value()) result.emplace(fail(done.status));  // the worker had no room
      if (waiter == nullptr) {
        delete this;
      } else {
        loop->complete(*waiter, Status());
      }
    }
  };
  Await ended_;
  State* state_;
};

}  // namespace gd2fs
