// TransferStep: one step of a read or write request: a piece of slab memory and its way to or from
// the client. Parking holds the steps that the store had no room for and asks again soon.
// One loop.
#pragma once

#include "base/list.h"
#include "loop/loop.h"

namespace gd2fs::server {

struct ParkedTag;

class TransferStep : public ListNode<TransferStep>, public ListNode<ParkedTag> {
 public:
  // Asks the store again, or ends if its request has failed meanwhile.
  virtual void retry() = 0;
  // Bytes moved so far, to tell a slow peer from a dead one.
  virtual uint64_t moved_bytes() const = 0;

  uint64_t busy_since_ns = 0;  // 0: not refused since it began

 protected:
  ~TransferStep() = default;
};

class Parking {
 public:
  Parking(Loop& loop, uint64_t retry_ns, uint64_t patience_ns)
      : loop_(loop), retry_ns_(retry_ns), patience_ns_(patience_ns) {
    timer_.bind<&Parking::on_timer>(this);
  }
  // False when the step has been refused for longer than the patience.
  bool park(TransferStep& step) {
    const uint64_t now_ns = loop_.now_ns();
    if (step.busy_since_ns == 0) step.busy_since_ns = now_ns;
    if (now_ns - step.busy_since_ns >= patience_ns_) return false;
    parked_.push_back(step);
    if (!timer_.running()) loop_.start(timer_, retry_ns_);
    return true;
  }

 private:
  void on_timer(Completion&) {
    List<TransferStep, ParkedTag> due;
    while (TransferStep* step = parked_.pop_front()) due.push_back(*step);
    while (TransferStep* step = due.pop_front()) step->retry();
  }

  Loop& loop_;
  uint64_t retry_ns_;
  uint64_t patience_ns_;
  Timer timer_;
  List<TransferStep, ParkedTag> parked_;
};

}  // namespace gd2fs::server
