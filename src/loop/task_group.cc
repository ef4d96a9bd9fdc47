#include "loop/task_group.h"

namespace gd2fs {

struct TaskGroup::Running {
  TaskGroup& group;
  Task<void> outer;
  Completion start;
  Completion ended;
  std::list<Running>::iterator self;

  explicit Running(TaskGroup& owner) : group(owner) {
    start.bind<&Running::on_start>(this);
    ended.bind<&Running::on_ended>(this);
  }
  void on_start(Completion&) { outer.handle().resume(); }
  void on_ended(Completion&) {
    TaskGroup& owner = group;
    owner.running_.erase(self);  // ends *this
    if (owner.running_.empty() && owner.idle_waiter_ != nullptr) {
      owner.loop_.complete(*std::exchange(owner.idle_waiter_, nullptr), Status());
    }
  }
};

TaskGroup::TaskGroup(Loop& loop) : loop_(loop) {}

TaskGroup::~TaskGroup() = default;

Task<void> TaskGroup::run(Running* running, Task<void> task) {
  co_await task;
  // From the loop, because this frame cannot destroy itself.
  running->ended.start();
  running->group.loop_.complete(running->ended, Status());
}

void TaskGroup::spawn(Task<void> task) {
  Running& running = running_.emplace_back(*this);
  running.self = std::prev(running_.end());
  running.outer = run(&running, std::move(task));
  running.start.start();
  loop_.complete(running.start, Status());
}

Task<void> TaskGroup::idle() {
  while (!running_.empty()) {
    CHECK(idle_waiter_ == nullptr);
    Await idle;
    idle.done().start();
    idle_waiter_ = &idle.done();
    const Status status = co_await idle;
    CHECK(status.ok());
  }
}

}  // namespace gd2fs
