// StepQueue: who may start the next step of work, so that many sessions share a bounded amount of
// memory fairly.
//
// A request is cut into steps. Each session has an account per queue; a request that has steps left
// waits in its session's account and is told take_step() when there is room: sessions in turn, the
// requests of a session in turn. Room is bounded in steps and bytes for all, and in bytes for one
// account (a step bigger than a bound goes alone). A server has one queue for small steps and one
// for big ones in each direction. One loop.
#pragma once

#include <cstdint>

#include "base/list.h"

namespace gd2fs::server {

class StepQueue;

// A request with a step to do.
class StepTaker : public ListNode<StepTaker> {
 public:
  // Starts one step of step_bytes. StepQueue::finish() ends it, from inside if it has ended at
  // once. May call want() for the step after it.
  virtual void take_step() = 0;
  uint64_t step_bytes = 0;

 protected:
  ~StepTaker() = default;
};

// A session's share in one queue.
struct StepAccount : ListNode<StepAccount> {
  List<StepTaker, StepTaker> waiting;
  uint64_t bytes_in_flight = 0;
};

class StepQueue {
 public:
  struct Limits {
    uint32_t steps_max;
    uint64_t bytes_max;
    uint64_t account_bytes_max;
  };
  explicit StepQueue(Limits limits) : limits_(limits) {}
  StepQueue(const StepQueue&) = delete;
  StepQueue& operator=(const StepQueue&) = delete;

  // take_step() follows, perhaps inside this call. To withdraw, unlink the taker.
  void want(StepAccount& account, StepTaker& taker);
  void finish(StepAccount& account, uint64_t step_bytes);

  uint32_t steps_in_flight() const { return steps_; }
  uint64_t bytes_in_flight() const { return bytes_; }

 private:
  void grant();

  Limits limits_;
  uint32_t steps_ = 0;
  uint64_t bytes_ = 0;
  bool granting_ = false;
  List<StepAccount, StepAccount> turns_;  // accounts that may have a waiter, next one first
};

}  // namespace gd2fs::server
