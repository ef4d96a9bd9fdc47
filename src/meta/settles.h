// Settles: coroutines that wait for the next intent to be settled, or for their time to pass.
// Thread rule: the Namespace's loop.
#pragma once

#include <cstdint>

#include "base/list.h"
#include "loop/loop.h"
#include "loop/task.h"

namespace gd2fs {

class Settles {
 public:
  explicit Settles(Loop& loop) : loop_(loop) {}
  Task<void> wait(uint64_t timeout_ns);
  void wake_all();

 private:
  struct Waiter : ListNode<> {
    Await woken;
    Timer timeout;
    Loop* loop = nullptr;
    void on_timeout(Completion&);
    void wake();
  };
  Loop& loop_;
  List<Waiter> waiters_;
};

}  // namespace gd2fs
