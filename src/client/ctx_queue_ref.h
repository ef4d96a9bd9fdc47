#pragma once

#include "client/ctx.h"

namespace gd2fs::client {

// A queue that stays while it is used.
class Ctx::QueueRef {
 public:
  QueueRef(Ctx& ctx, QueueHandle handle) : ctx_(ctx), handle_(handle) {
    if (handle == 0) {
      queue_ = ctx.default_queue_.get();
    } else if (auto* pinned = ctx.queues_.pin(handle)) {
      queue_ = pinned->get();
    }
  }
  QueueRef(const QueueRef&) = delete;
  QueueRef& operator=(const QueueRef&) = delete;
  ~QueueRef() {
    if (handle_ == 0 || queue_ == nullptr || !ctx_.queues_.unpin(handle_)) return;
    ctx_.queue_users_left_.fetch_add(1);
    ctx_.queue_users_left_.notify_all();
  }
  Queue* get() const { return queue_; }

 private:
  Ctx& ctx_;
  QueueHandle handle_;
  Queue* queue_ = nullptr;
};

}  // namespace gd2fs::client
