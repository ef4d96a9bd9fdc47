// CtxTable: all ctxs of this process, by the handles that C callers hold, and what becomes of them
// in the child of a fork. One per process; made at the first connect and never destroyed, so that a
// process may exit with requests in flight. Any thread.
#pragma once

#include <memory>

#include "client/ctx.h"

namespace gd2fs::client {

class CtxTable {
 public:
  static constexpr uint32_t kCtxsMax = 4096;
  static CtxTable& instance();

  Result<uint64_t> add(std::unique_ptr<Ctx> ctx);
  // Closes and destroys. invalid: no such ctx; canceled: closed before.
  Status close(uint64_t handle);

  // A ctx that stays while a call uses it, or why it cannot be used: EINVAL, ECANCELED, EPERM.
  class Ref {
   public:
    explicit Ref(uint64_t handle);
    Ref(const Ref&) = delete;
    Ref& operator=(const Ref&) = delete;
    ~Ref();
    const Status& status() const { return status_; }
    Ctx* operator->() const { return ctx_; }

   private:
    uint64_t handle_;
    Ctx* ctx_ = nullptr;
    Status status_;
  };

 private:
  CtxTable();
  static void before_fork();
  static void after_fork_in_parent();
  static void after_fork_in_child();
  Status unusable(uint64_t handle);

  HandleTable<std::unique_ptr<Ctx>> ctxs_;
  std::atomic<uint32_t> users_left_{0};  // changes when the last user leaves a closed ctx
};

}  // namespace gd2fs::client
