// held: an attempt that meets a name or an inode held by an open intent waits until that is
// settled, and tries again, for ControllerOptions::held_wait_ns.
#pragma once

#include <functional>

#include "controller/controller.h"
#include "loop/task.h"

namespace gd2fs::controller {

template <class T>
Task<Result<T>> when_free(Controller* controller,
                          std::move_only_function<Task<Result<T>>()> attempt) {
  constexpr uint64_t kLookAgainNs = 50 * kMs;
  const uint64_t until_ns = controller->loop().now_ns() + controller->options().held_wait_ns;
  for (;;) {
    Result<T> result = co_await attempt();
    if (result.has_value() || !result.error().is(StatusCode::busy)) co_return result;
    if (controller->loop().now_ns() >= until_ns) co_return result;
    co_await controller->names().wait_for_settle(kLookAgainNs);
  }
}

}  // namespace gd2fs::controller
