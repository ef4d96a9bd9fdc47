#include "fake_engine.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <unistd.h>

#include <sys/eventfd.h>

namespace fake {
namespace {

constexpr unsigned char kGarbage = 0xCC;

// What a peer that has not finished does to memory.
void scribble(const Operation& operation) {
  if (operation.op.opcode != XFER_GD2FS_OP_READ) return;
  for (const auto& sge : operation.sges) std::memset(sge.addr, kGarbage, sge.len);
}

}  // namespace

Queue::Queue() : fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Queue::~Queue() {
  close(fd);
}

void Queue::push(const xfer_gd2fs_completion& completion) {
  ended.push_back(completion);
  const uint64_t one = 1;
  if (write(fd, &one, sizeof one) < 0) return;  // it is readable already
}

int Queue::take(xfer_gd2fs_completion* completions, int count) {
  int taken = 0;
  for (; taken < count && !ended.empty(); ++taken) {
    completions[taken] = ended.front();
    ended.pop_front();
  }
  uint64_t value;
  if (ended.empty() && read(fd, &value, sizeof value) < 0) return taken;
  return taken;
}

Engine& Engine::instance() {
  // Never destroyed: its thread may run until the process ends.
  static Engine* engine = new Engine;
  return *engine;
}

Engine::Engine() : process_(getpid()) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

bool Engine::forked() const {
  return getpid() != process_;
}

Ctx* Engine::find(const void* handle, int* error) {
  const auto found = ctxs.find(reinterpret_cast<uint64_t>(handle));
  if (found == ctxs.end()) {
    *error = closed_ctxs.contains(reinterpret_cast<uint64_t>(handle)) ? ECANCELED : EINVAL;
    return nullptr;
  }
  if (found->second->closed) {
    *error = ECANCELED;
    return nullptr;
  }
  return found->second.get();
}

std::shared_ptr<Ctx> Engine::connect(const std::string& cluster) {
  auto ctx = std::make_shared<Ctx>();
  ctx->handle = new_handle();
  ctx->cluster = cluster;
  ctx->queues[0] = std::make_shared<Queue>();
  ctxs[ctx->handle] = ctx;
  return ctx;
}

void Engine::accept(Ctx& ctx, Operation operation) {
  ++ctx.unreaped;
  ctx.running.push_back(std::move(operation));
  condition_.notify_all();
}

void Engine::cancel(Ctx& ctx, Operation& operation, unsigned detail) {
  if (operation.canceled) return;
  operation.canceled = true;
  operation.canceled_detail = detail;
  ++ctx.canceled;
  condition_.notify_all();
}

bool Engine::wait(std::unique_lock<std::mutex>& lock, int timeout_ms) {
  if (timeout_ms < 0) {
    condition_.wait(lock);
    return true;
  }
  return condition_.wait_for(lock, std::chrono::milliseconds(timeout_ms)) ==
         std::cv_status::no_timeout;
}

void Engine::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (end_one()) {
      condition_.notify_all();
      lock.unlock();  // let others in between
      lock.lock();
      continue;
    }
    const bool scribbling =
        std::ranges::any_of(ctxs, [](const auto& entry) { return entry.second->canceled > 0; });
    wait(lock, scribbling ? 1 : -1);
  }
}

bool Engine::end_one() {
  for (auto& [handle, ctx] : ctxs) {
    for (auto operation = ctx->running.begin();
         ctx->canceled > 0 && operation != ctx->running.end(); ++operation) {
      if (operation->canceled && end_canceled(*ctx, operation)) return true;
    }
    if (ctx->running.empty() || (hold && steps == 0)) continue;
    // Any of the oldest few: completions come in no order.
    auto operation = ctx->running.begin();
    std::advance(operation, random_() % std::min<size_t>(ctx->running.size(), 8));
    if (operation->canceled) continue;
    if (hold) --steps;
    scribble(*operation);
    end(*ctx, operation, execute(*ctx, *operation));
    return true;
  }
  return false;
}

bool Engine::end_canceled(Ctx& ctx, std::list<Operation>::iterator operation) {
  scribble(*operation);
  if (hold_cancels) return false;
  const unsigned status =
      ECANCELED | XFER_GD2FS_STATUS_CLASS_CLIENT << 8 | operation->canceled_detail << 11;
  end(ctx, operation, {0, static_cast<uint16_t>(status)});
  return true;
}

void Engine::end(Ctx& ctx, std::list<Operation>::iterator operation, Outcome outcome) {
  if (outcome.status != 0) scribble(*operation);
  operation->queue->push({operation->op.id, outcome.value, outcome.status, {}});
  ctx.canceled -= operation->canceled;
  ctx.running.erase(operation);
}

Outcome Engine::execute(Ctx& ctx, Operation& operation) {
  const auto fails = fail_next.find(operation.op.opcode);
  if (fails != fail_next.end()) {
    const auto status = static_cast<uint16_t>(fails->second);
    fail_next.erase(fails);
    return {0, status};
  }
  Names& names = clusters[ctx.cluster];
  const xfer_gd2fs_op& op = operation.op;
  switch (op.opcode) {
    case XFER_GD2FS_OP_READ:
      return names.read(operation.path, op.off, operation.sges);
    case XFER_GD2FS_OP_VIEW: {
      const auto end = names.read(operation.path, op.off, operation.sges);
      *op.view = {};
      op.view->addr = operation.sges.front().addr;
      op.view->len = end.value;
      return end;
    }
    case XFER_GD2FS_OP_WRITE:
      return names.write(operation.path, op.off, operation.sges);
    case XFER_GD2FS_OP_STAT:
      return names.stat(operation.path, op.stat);
    case XFER_GD2FS_OP_CREATE:
      return names.create(operation.path, op.size);
    case XFER_GD2FS_OP_UNLINK:
      return names.unlink(operation.path);
    case XFER_GD2FS_OP_RENAME:
      return names.rename(operation.path, operation.other);
    case XFER_GD2FS_OP_MKDIR:
      return names.mkdir(operation.path);
    case XFER_GD2FS_OP_RMDIR:
      return names.rmdir(operation.path);
    case XFER_GD2FS_OP_TRUNCATE:
      return names.truncate(operation.path, op.size);
    case XFER_GD2FS_OP_FSYNC:
      return names.fsync(operation.path);
    case XFER_GD2FS_OP_SETATTR:
      return names.set_pin(operation.path, operation.pin);
    case XFER_GD2FS_OP_ADVISE:
      return names.advise(operation.path, op.off, op.size, op.advice);
    default:
      return names.readdir(operation.path, operation.other, op.entries, op.nentries);
  }
}

}  // namespace fake
