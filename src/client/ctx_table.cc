#include "client/ctx_table.h"

#include <cerrno>
#include <pthread.h>

#include <openssl/crypto.h>

namespace gd2fs::client {

CtxTable& CtxTable::instance() {
  static auto* const table = new CtxTable;
  return *table;
}

CtxTable::CtxTable() : ctxs_(kCtxsMax) {
  set_check_handler(check_throw);
  // Our threads may be in the middle of a handshake when the process exits, so libcrypto must not
  // be taken down under them.
  OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, nullptr);
  pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

Result<uint64_t> CtxTable::add(std::unique_ptr<Ctx> ctx) {
  const uint64_t handle = ctxs_.insert(std::move(ctx));
  if (handle == 0) return fail(StatusCode::busy, "ctxs_max ctxs are open", EMFILE);
  return handle;
}

Status CtxTable::unusable(uint64_t handle) {
  if (ctxs_.was_open(handle)) return {StatusCode::canceled, "the ctx is closed", ECANCELED};
  return {StatusCode::invalid, "no such ctx", EINVAL};
}

Status CtxTable::close(uint64_t handle) {
  std::unique_ptr<Ctx>* pinned = ctxs_.pin(handle);
  if (pinned == nullptr) return unusable(handle);
  const bool forked = (*pinned)->forked();
  ctxs_.unpin(handle);
  if (!ctxs_.close(handle)) return unusable(handle);
  // The parent's threads and connections are not ours to take down.
  if (forked) return {};
  Ctx& ctx = *ctxs_.value_of(handle);
  ctx.cancel_all();
  for (;;) {
    const uint32_t seen = users_left_.load();
    if (ctxs_.pins(handle) == 0) break;
    users_left_.wait(seen);
  }
  ctx.stop();
  ctxs_.release(handle);
  return {};
}

CtxTable::Ref::Ref(uint64_t handle) : handle_(handle) {
  CtxTable& table = instance();
  std::unique_ptr<Ctx>* pinned = table.ctxs_.pin(handle);
  if (pinned == nullptr) {
    status_ = table.unusable(handle);
  } else if ((*pinned)->forked()) {
    table.ctxs_.unpin(handle);
    status_ = Status(StatusCode::denied, "the ctx belongs to the parent process", EPERM);
  } else {
    ctx_ = pinned->get();
  }
}

CtxTable::Ref::~Ref() {
  if (ctx_ == nullptr) return;
  CtxTable& table = instance();
  if (!table.ctxs_.unpin(handle_)) return;
  table.users_left_.fetch_add(1);
  table.users_left_.notify_all();
}

// The lock is held over the fork, so that the child finds the table whole.
void CtxTable::before_fork() {
  instance().ctxs_.mutex().lock();
}
void CtxTable::after_fork_in_parent() {
  instance().ctxs_.mutex().unlock();
}
void CtxTable::after_fork_in_child() {
  CtxTable& table = instance();
  table.ctxs_.for_each_locked([](uint64_t, const std::unique_ptr<Ctx>& ctx) {
    if (ctx != nullptr) ctx->close_descriptors_in_child();
  });
  table.ctxs_.mutex().unlock();
}

}  // namespace gd2fs::client
