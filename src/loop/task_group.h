// TaskGroup: coroutines that live no longer than their owner.
//
// Loop::spawn gives a coroutine to the loop; a part whose coroutines touch the part itself (a
// controller, a server's registration) spawns them here instead: destroying the group drops the
// frames that have not ended. As with any dropped Task, none of their completions may still be
// handed to a leaf that outlives the group; a clean stop waits for idle() first.
// Thread rule: belongs to one loop.
#pragma once

#include <list>

#include "loop/loop.h"
#include "loop/task.h"

namespace gd2fs {

class TaskGroup {
 public:
  explicit TaskGroup(Loop& loop);
  ~TaskGroup();
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  // Runs the task from the loop, never inside this call.
  void spawn(Task<void> task);
  size_t running() const { return running_.size(); }
  // Waits until nothing runs; one waiter at a time. Not from a task of this group.
  Task<void> idle();

 private:
  struct Running;
  static Task<void> run(Running* running, Task<void> task);

  Loop& loop_;
  std::list<Running> running_;
  Completion* idle_waiter_ = nullptr;
};

}  // namespace gd2fs
