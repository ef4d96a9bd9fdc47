#include "fake_gd2fs.h"

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "fake_engine.h"

using fake::Ctx;
using fake::Engine;
using fake::Operation;

namespace {

thread_local std::string last_error;

int fail(int error, const char* reason) {
  last_error = reason;
  return -error;
}

// The engine's lock, and the ctx that a call names. Without one, `error` says why.
class Call {
 public:
  explicit Call(const void* handle) {
    Engine& engine = Engine::instance();
    if (engine.forked()) {
      error_ = fail(EPERM, "this process is a child of fork(): connect anew");
      return;
    }
    lock_ = std::unique_lock(engine.mutex());
    int error = 0;
    Ctx* ctx = engine.find(handle, &error);
    if (ctx == nullptr) {
      error_ = fail(error, error == ECANCELED ? "the ctx is closed" : "not a ctx");
      return;
    }
    ctx_ = engine.ctxs[ctx->handle];
  }
  explicit operator bool() const { return ctx_ != nullptr; }
  int error() const { return error_; }
  Ctx& ctx() { return *ctx_; }
  Engine& engine() { return Engine::instance(); }
  std::unique_lock<std::mutex>& lock() { return lock_; }
  std::shared_ptr<fake::Queue> queue(const xfer_gd2fs_cq* cq) {
    const auto found = ctx_->queues.find(reinterpret_cast<uint64_t>(cq));
    return found == ctx_->queues.end() ? nullptr : found->second;
  }

 private:
  std::unique_lock<std::mutex> lock_;
  std::shared_ptr<Ctx> ctx_;
  int error_ = 0;
};

bool is_folder_op(uint16_t opcode) {
  return opcode == XFER_GD2FS_OP_READDIR || opcode == XFER_GD2FS_OP_MKDIR ||
         opcode == XFER_GD2FS_OP_RMDIR;
}

// A folder's path may end in a slash, which is dropped.
std::string plain(const char* path, bool folder) {
  std::string text = path;
  if (folder && text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

int check_path(const char* path, bool folder) {
  if (path == nullptr || path[0] != '/') return fail(EINVAL, "the path is not absolute");
  const std::string text = plain(path, folder);
  if (text.size() > XFER_GD2FS_PATH_MAX) return fail(ENAMETOOLONG, "the path is too long");
  if (text == "/") return 0;
  for (size_t begin = 1; begin <= text.size();) {
    const size_t end = std::min(text.find('/', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    if (part.empty()) return fail(EINVAL, "an empty component in the path");
    if (part == "." || part == "..") return fail(EINVAL, "a dot component in the path");
    if (part.size() > XFER_GD2FS_NAME_MAX) return fail(ENAMETOOLONG, "a component is too long");
    begin = end + 1;
    if (end + 1 == text.size() + 1) break;
    if (begin == text.size()) return fail(EINVAL, "a slash at the end of the path");
  }
  return 0;
}

// The sum of the SGEs, or a negative errno.
int64_t check_sges(const Ctx& ctx, const xfer_gd2fs_op& op) {
  if (op.nsge == 0 || op.sges == nullptr) return fail(EINVAL, "no SGE");
  uint64_t total = 0;
  for (uint16_t i = 0; i < op.nsge; ++i) {
    const xfer_gd2fs_sge& sge = op.sges[i];
    const auto found = ctx.iomems.find(reinterpret_cast<uint64_t>(sge.iomem));
    if (found == ctx.iomems.end()) return fail(EINVAL, "an SGE's iomem is not registered");
    const auto address = reinterpret_cast<uint64_t>(sge.addr);
    const fake::Iomem& iomem = found->second;
    if (address < iomem.address || sge.len > iomem.length ||
        address - iomem.address > iomem.length - sge.len) {
      return fail(EINVAL, "an SGE lies outside its iomem");
    }
    if (__builtin_add_overflow(total, sge.len, &total)) return fail(EINVAL, "the lengths overflow");
  }
  uint64_t end;
  if (__builtin_add_overflow(total, op.off, &end) || end > INT64_MAX) {
    return fail(EINVAL, "the range ends beyond 2^63 - 1");
  }
  return static_cast<int64_t>(total);
}

int64_t check_op(const Ctx& ctx, const xfer_gd2fs_op& op) {
  if (op.opcode < XFER_GD2FS_OP_READ || op.opcode > XFER_GD2FS_OP_VIEW) {
    return fail(EINVAL, "an unknown opcode");
  }
  if (op.flags != 0) return fail(EINVAL, "unknown flags");
  if (op.gpu_stream != 0) return fail(ENOTSUP, "there is no GPU here");
  if (const int error = check_path(op.filepath, is_folder_op(op.opcode))) return error;
  if (op.opcode == XFER_GD2FS_OP_RENAME) {
    if (const int error = check_path(op.other, false)) return error;
  }
  if (op.opcode == XFER_GD2FS_OP_SETATTR &&
      (op.attr == nullptr || op.attr->set != XFER_GD2FS_ATTR_PIN || op.attr->pin > 1)) {
    return fail(op.attr == nullptr ? EINVAL : ENOTSUP, "only the pin can be set");
  }
  if (op.opcode == XFER_GD2FS_OP_ADVISE &&
      (op.advice < XFER_GD2FS_ADVICE_PREFETCH || op.advice > XFER_GD2FS_ADVICE_DROP)) {
    return fail(EINVAL, "no such advice");
  }
  if (op.opcode == XFER_GD2FS_OP_VIEW && (op.nsge != 1 || op.view == nullptr)) {
    return fail(EINVAL, "a view has one SGE");
  }
  const bool moves_bytes = op.opcode <= XFER_GD2FS_OP_WRITE || op.opcode == XFER_GD2FS_OP_VIEW;
  return moves_bytes ? check_sges(ctx, op) : 0;
}

int reap(xfer_gd2fs_ctx* handle, xfer_gd2fs_cq* cq, xfer_gd2fs_completion* completions, int maxcomp,
         int timeout_ms) {
  Call call(handle);
  if (!call) return call.error();
  const auto queue = call.queue(cq);
  if (queue == nullptr || maxcomp < 1) return fail(EINVAL, "not a queue, or no room");
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  for (;;) {
    if (call.ctx().closed || queue->destroyed) return fail(ECANCELED, "the ctx is closed");
    if (!queue->ended.empty()) break;
    int left_ms = -1;
    if (timeout_ms >= 0) {
      const auto left = deadline - std::chrono::steady_clock::now();
      if (left.count() <= 0) return 0;
      left_ms = static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(left).count());
    }
    call.engine().wait(call.lock(), left_ms);
  }
  const int count = queue->take(completions, maxcomp);
  call.ctx().unreaped -= static_cast<unsigned>(count);
  return count;
}

xfer_gd2fs_op name_op(uint16_t opcode, void* id, const char* path) {
  xfer_gd2fs_op op{};
  op.opcode = opcode;
  op.id = id;
  op.filepath = path;
  return op;
}

int submit(xfer_gd2fs_ctx* ctx, const xfer_gd2fs_op& op) {
  return static_cast<int>(xfer_gd2fs_submit(ctx, nullptr, &op));
}

}  // namespace

extern "C" {

xfer_gd2fs_ctx* xfer_gd2fs_connect(const xfer_gd2fs_options* options) {
  const std::string cluster =
      options != nullptr && options->cluster_id != nullptr ? options->cluster_id : "gd2fs-cluster0";
  if (cluster == "no-such-cluster") {
    last_error = "no such cluster: no-such-cluster";
    return nullptr;
  }
  Engine& engine = Engine::instance();
  std::lock_guard lock(engine.mutex());
  return reinterpret_cast<xfer_gd2fs_ctx*>(engine.connect(cluster)->handle);
}

int xfer_gd2fs_close(xfer_gd2fs_ctx* handle) {
  if (Engine::instance().forked()) return 0;
  Call call(handle);
  if (!call) return call.error();
  Ctx& ctx = call.ctx();
  ctx.closed = true;
  call.engine().cancel_and_wait(call.lock(), ctx, XFER_GD2FS_STATUS_DETAIL_CTX,
                                [](const Operation&) { return true; });
  call.engine().closed_ctxs.insert(ctx.handle);
  call.engine().ctxs.erase(ctx.handle);
  call.engine().changed();
  return 0;
}

const char* xfer_gd2fs_last_error(void) {
  return last_error.c_str();
}

const char* xfer_gd2fs_version(void) {
  return GD2FS_VERSION;
}

int xfer_gd2fs_get_counters(xfer_gd2fs_ctx* handle, xfer_gd2fs_counters* counters) {
  Call call(handle);
  if (!call) return call.error();
  *counters = {};
  return 0;
}

xfer_gd2fs_iomem* xfer_gd2fs_reg_iomem(xfer_gd2fs_ctx* handle, void* addr, size_t length,
                                       const xfer_gd2fs_iomem_options*) {
  Call call(handle);
  if (!call) return nullptr;
  const auto address = reinterpret_cast<uint64_t>(addr);
  uint64_t end;
  if (length == 0 || __builtin_add_overflow(address, length, &end) || address == 0) {
    last_error = "an empty or impossible range";
    return nullptr;
  }
  const uint64_t iomem = call.engine().new_handle();
  call.ctx().iomems[iomem] = {address, length};
  return reinterpret_cast<xfer_gd2fs_iomem*>(iomem);
}

int xfer_gd2fs_iomem_device(xfer_gd2fs_ctx* handle, xfer_gd2fs_iomem* iomem, int32_t* device) {
  Call call(handle);
  if (!call) return call.error();
  if (!call.ctx().iomems.contains(reinterpret_cast<uint64_t>(iomem))) {
    return fail(EINVAL, "not a registration");
  }
  *device = -1;
  return 0;
}

int xfer_gd2fs_dereg_iomem(xfer_gd2fs_ctx* handle, xfer_gd2fs_iomem* iomem) {
  Call call(handle);
  if (!call) return call.error();
  if (call.ctx().iomems.erase(reinterpret_cast<uint64_t>(iomem)) == 0) {
    return fail(EINVAL, "not a registration");
  }
  call.engine().cancel_and_wait(call.lock(), call.ctx(), XFER_GD2FS_STATUS_DETAIL_IOMEM,
                                [iomem](const Operation& operation) {
                                  for (const auto& sge : operation.sges) {
                                    if (sge.iomem == iomem) return true;
                                  }
                                  return false;
                                });
  return 0;
}

ssize_t xfer_gd2fs_submit(xfer_gd2fs_ctx* handle, xfer_gd2fs_cq* cq, const xfer_gd2fs_op* op) {
  Call call(handle);
  if (!call) return call.error();
  const int64_t accepted = check_op(call.ctx(), *op);
  if (accepted < 0) return accepted;
  auto queue = call.queue(cq);
  if (queue == nullptr) return fail(EINVAL, "not a queue");
  if (call.ctx().unreaped >= call.engine().requests_max) {
    return fail(EAGAIN, "too many requests are in flight");
  }
  Operation operation{*op, op->filepath,     op->other != nullptr ? op->other : "",
                      {},  std::move(queue), call.engine().new_handle()};
  if (op->nsge > 0) operation.sges.assign(op->sges, op->sges + op->nsge);
  if (op->attr != nullptr) operation.pin = op->attr->pin == 1;
  if (op->request != nullptr) *op->request = operation.number;
  call.engine().accept(call.ctx(), std::move(operation));
  return accepted;
}

// Nothing is ever lent here.
int xfer_gd2fs_view_put(xfer_gd2fs_view*) {
  return 0;
}

int xfer_gd2fs_cancel(xfer_gd2fs_ctx* handle, uint64_t request) {
  Call call(handle);
  if (!call) return call.error();
  for (Operation& operation : call.ctx().running) {
    if (operation.number != request) continue;
    call.engine().cancel(call.ctx(), operation, XFER_GD2FS_STATUS_DETAIL_REQUEST);
    return 0;
  }
  return fail(ENOENT, "the request has completed");
}

ssize_t xfer_gd2fs_preadv(xfer_gd2fs_ctx* ctx, void* id, const char* filepath, uint64_t off,
                          const xfer_gd2fs_sge* sges, uint16_t nsge, uint16_t flags) {
  xfer_gd2fs_op op = name_op(XFER_GD2FS_OP_READ, id, filepath);
  op.off = off, op.sges = sges, op.nsge = nsge, op.flags = flags;
  return xfer_gd2fs_submit(ctx, nullptr, &op);
}

ssize_t xfer_gd2fs_pwritev(xfer_gd2fs_ctx* ctx, void* id, const char* filepath, uint64_t off,
                           const xfer_gd2fs_sge* sges, uint16_t nsge, uint16_t flags) {
  xfer_gd2fs_op op = name_op(XFER_GD2FS_OP_WRITE, id, filepath);
  op.off = off, op.sges = sges, op.nsge = nsge, op.flags = flags;
  return xfer_gd2fs_submit(ctx, nullptr, &op);
}

int xfer_gd2fs_fstat(xfer_gd2fs_ctx* ctx, void* id, const char* path, xfer_gd2fs_stat* stat) {
  xfer_gd2fs_op op = name_op(XFER_GD2FS_OP_STAT, id, path);
  op.stat = stat;
  return submit(ctx, op);
}

int xfer_gd2fs_create(xfer_gd2fs_ctx* ctx, void* id, const char* path, uint16_t flags,
                      uint64_t size) {
  xfer_gd2fs_op op = name_op(XFER_GD2FS_OP_CREATE, id, path);
  op.flags = flags, op.size = size;
  return submit(ctx, op);
}

int xfer_gd2fs_unlink(xfer_gd2fs_ctx* ctx, void* id, const char* path) {
  return submit(ctx, name_op(XFER_GD2FS_OP_UNLINK, id, path));
}

int xfer_gd2fs_rename(xfer_gd2fs_ctx* ctx, void* id, const char* path, const char* newpath) {
  xfer_gd2fs_op op = name_op(XFER_GD2FS_OP_RENAME, id, path);
  op.other = newpath;
  return submit(ctx, op);
}

int xfer_gd2fs_mkdir(xfer_gd2fs_ctx* ctx, void* id, const char* path) {
  return submit(ctx, name_op(XFER_GD2FS_OP_MKDIR, id, path));
}

int xfer_gd2fs_rmdir(xfer_gd2fs_ctx* ctx, void* id, const char* path) {
  return submit(ctx, name_op(XFER_GD2FS_OP_RMDIR, id, path));
}

int xfer_gd2fs_truncate(xfer_gd2fs_ctx* ctx, void* id, const char* path, uint64_t size) {
  xfer_gd2fs_op op = name_op(XFER_GD2FS_OP_TRUNCATE, id, path);
  op.size = size;
  return submit(ctx, op);
}

int xfer_gd2fs_fsync(xfer_gd2fs_ctx* ctx, void* id, const char* path) {
  return submit(ctx, name_op(XFER_GD2FS_OP_FSYNC, id, path));
}

int xfer_gd2fs_readdir(xfer_gd2fs_ctx* ctx, void* id, const char* path, const char* after,
                       xfer_gd2fs_dirent* entries, uint32_t nentries) {
  xfer_gd2fs_op op = name_op(XFER_GD2FS_OP_READDIR, id, path);
  op.other = after, op.entries = entries, op.nentries = nentries;
  return submit(ctx, op);
}

int xfer_gd2fs_setattr(xfer_gd2fs_ctx* ctx, void* id, const char* path,
                       const xfer_gd2fs_attr* attr) {
  xfer_gd2fs_op op = name_op(XFER_GD2FS_OP_SETATTR, id, path);
  op.attr = attr;
  return submit(ctx, op);
}

int xfer_gd2fs_advise(xfer_gd2fs_ctx* ctx, void* id, const char* path, uint64_t off, uint64_t len,
                      uint16_t advice) {
  xfer_gd2fs_op op = name_op(XFER_GD2FS_OP_ADVISE, id, path);
  op.off = off, op.size = len, op.advice = advice;
  return submit(ctx, op);
}

int xfer_gd2fs_wait(xfer_gd2fs_ctx* ctx, xfer_gd2fs_completion* completions, int maxcomp,
                    int timeout_ms) {
  return reap(ctx, nullptr, completions, maxcomp, timeout_ms);
}

int xfer_gd2fs_cq_wait(xfer_gd2fs_ctx* ctx, xfer_gd2fs_cq* cq, xfer_gd2fs_completion* completions,
                       int maxcomp, int timeout_ms) {
  return reap(ctx, cq, completions, maxcomp, timeout_ms);
}

int xfer_gd2fs_get_fd(xfer_gd2fs_ctx* ctx) {
  return xfer_gd2fs_cq_get_fd(ctx, nullptr);
}

int xfer_gd2fs_cq_get_fd(xfer_gd2fs_ctx* handle, xfer_gd2fs_cq* cq) {
  Call call(handle);
  if (!call) return call.error();
  const auto queue = call.queue(cq);
  return queue != nullptr ? queue->fd : fail(EINVAL, "not a queue");
}

xfer_gd2fs_cq* xfer_gd2fs_cq_create(xfer_gd2fs_ctx* handle) {
  Call call(handle);
  if (!call) return nullptr;
  if (call.ctx().queues.size() > 1024) {
    last_error = "1024 completion queues are open";
    return nullptr;
  }
  const uint64_t cq = call.engine().new_handle();
  call.ctx().queues[cq] = std::make_shared<fake::Queue>();
  return reinterpret_cast<xfer_gd2fs_cq*>(cq);
}

int xfer_gd2fs_cq_destroy(xfer_gd2fs_ctx* handle, xfer_gd2fs_cq* cq) {
  Call call(handle);
  if (!call) return call.error();
  const auto queue = call.queue(cq);
  if (queue == nullptr || cq == nullptr) return fail(EINVAL, "not a queue");
  queue->destroyed = true;
  call.engine().cancel_and_wait(
      call.lock(), call.ctx(), XFER_GD2FS_STATUS_DETAIL_REQUEST,
      [&queue](const Operation& operation) { return operation.queue == queue; });
  call.ctx().unreaped -= static_cast<unsigned>(queue->ended.size());
  call.ctx().queues.erase(reinterpret_cast<uint64_t>(cq));
  call.engine().changed();
  return 0;
}

// --- what tests set and see ---

void fake_gd2fs_reset(void) {
  Engine& engine = Engine::instance();
  std::lock_guard lock(engine.mutex());
  engine.hold = engine.hold_cancels = false;
  engine.steps = 0;
  engine.requests_max = XFER_GD2FS_REQUESTS_MAX;
  engine.fail_next.clear();
  engine.clusters.clear();
  engine.changed();
}

void fake_gd2fs_hold(int on) {
  Engine& engine = Engine::instance();
  std::lock_guard lock(engine.mutex());
  engine.hold = on != 0;
  engine.steps = 0;
  engine.changed();
}

void fake_gd2fs_step(unsigned count) {
  Engine& engine = Engine::instance();
  std::lock_guard lock(engine.mutex());
  engine.steps += count;
  engine.changed();
}

void fake_gd2fs_fail_next(unsigned opcode, unsigned status) {
  Engine& engine = Engine::instance();
  std::lock_guard lock(engine.mutex());
  engine.fail_next[opcode] = status;
}

void fake_gd2fs_hold_cancels(int on) {
  Engine& engine = Engine::instance();
  std::lock_guard lock(engine.mutex());
  engine.hold_cancels = on != 0;
  engine.changed();
}

unsigned fake_gd2fs_cancels_held(void) {
  Engine& engine = Engine::instance();
  std::lock_guard lock(engine.mutex());
  unsigned held = 0;
  for (const auto& [handle, ctx] : engine.ctxs) {
    for (const Operation& operation : ctx->running) held += operation.canceled;
  }
  return held;
}

void fake_gd2fs_set_requests_max(unsigned count) {
  Engine& engine = Engine::instance();
  std::lock_guard lock(engine.mutex());
  engine.requests_max = count;
}

unsigned fake_gd2fs_ctxs(void) {
  Engine& engine = Engine::instance();
  std::lock_guard lock(engine.mutex());
  return static_cast<unsigned>(engine.ctxs.size());
}

unsigned fake_gd2fs_iomems(void) {
  Engine& engine = Engine::instance();
  std::lock_guard lock(engine.mutex());
  size_t count = 0;
  for (const auto& [handle, ctx] : engine.ctxs) count += ctx->iomems.size();
  return static_cast<unsigned>(count);
}

unsigned fake_gd2fs_cqs(void) {
  Engine& engine = Engine::instance();
  std::lock_guard lock(engine.mutex());
  size_t count = 0;
  for (const auto& [handle, ctx] : engine.ctxs) count += ctx->queues.size();
  return static_cast<unsigned>(count);
}

unsigned fake_gd2fs_running(void) {
  Engine& engine = Engine::instance();
  std::lock_guard lock(engine.mutex());
  size_t count = 0;
  for (const auto& [handle, ctx] : engine.ctxs) count += ctx->running.size();
  return static_cast<unsigned>(count);
}
}
