// Fencing: carries intents to the data servers, and says when a mutation may be acknowledged.
//
// An intent is settled when every server has made its fence durable, or its lease has surely ended;
// it is deleted when every one has it. A server whose lease ended with an intent settled without it
// is owed that fence: it gets no lease before it has caught up with all that is pending. While it
// catches up new fences wait, so that those of one inode reach it in the order of their
// generations, and so that it catches up at all. One loop.
#pragma once

#include <vector>

#include "controller/membership.h"
#include "controller/options.h"
#include "loop/task_group.h"
#include "meta/namespace.h"

namespace gd2fs::controller {

class Fencing {
 public:
  Fencing(Loop& loop, Namespace& names, Membership& membership, TaskGroup& tasks,
          const ControllerOptions& options)
      : loop_(loop), names_(names), membership_(membership), tasks_(tasks), options_(options) {}

  // Ok: the mutation that made these intents may be acknowledged; their end is recorded, so that
  // names show the change.
  // unavailable: the controller stops.
  Task<Status> settle(std::vector<Intent> intents);
  // Begins, unless it has begun, to send a connected member all that it may be owed.
  void start_catch_up(Member& member);
  // Settles what a controller before this one, or a failed commit, has left behind.
  Task<void> tidy();
  // Whatever waits for a server gives up.
  void stop() { stopping_ = true; }

 private:
  Task<Result<bool>> fence_member(Member* member, Intent intent);
  Task<Status> end_intents(std::vector<Intent> intents, bool all_have_it);
  Task<void> catch_up(Member* member);
  Task<Status> catch_up_once(Member* member, std::shared_ptr<Connection> connection);
  Task<void> send_fence(std::shared_ptr<Connection> connection, Intent intent, Status* outcome);

  Loop& loop_;
  Namespace& names_;
  Membership& membership_;
  TaskGroup& tasks_;
  const ControllerOptions& options_;
  bool leftovers_ = true;
  bool stopping_ = false;
};

}  // namespace gd2fs::controller
