#include "context.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <unistd.h>
#include <utility>

#include "gil.h"

namespace pygd2fs {
namespace {

using Clock = std::chrono::steady_clock;

// One wait of at most timeout_ms, without the GIL.
int wait_once(xfer_gd2fs_ctx* ctx, xfer_gd2fs_cq* queue, xfer_gd2fs_completion* completions,
              int timeout_ms, std::string& reason) {
  return without_gil([&] {
    const int count =
        queue == nullptr
            ? xfer_gd2fs_wait(ctx, completions, Context::kReapMax, timeout_ms)
            : xfer_gd2fs_cq_wait(ctx, queue, completions, Context::kReapMax, timeout_ms);
    if (count < 0) reason = last_reason();
    return count;
  });
}

int milliseconds_until(Clock::time_point deadline) {
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count() + 1;
  return static_cast<int>(std::clamp<int64_t>(left, 0, Context::kSignalCheckMs));
}

std::atomic<bool> g_python_ends = false;
std::thread::id g_ending_thread;

}  // namespace

void Context::python_ends() {
  g_ending_thread = std::this_thread::get_id();
  g_python_ends = true;
}

std::shared_ptr<Context> Context::connect(const xfer_gd2fs_options& options) {
  std::string reason;
  xfer_gd2fs_ctx* const ctx = without_gil([&] {
    xfer_gd2fs_ctx* connected = xfer_gd2fs_connect(&options);
    if (connected == nullptr) reason = last_reason();
    return connected;
  });
  if (ctx == nullptr) raise(PyExc_ConnectionError, reason);
  return std::shared_ptr<Context>(new Context(ctx));
}

Context::Context(xfer_gd2fs_ctx* ctx) : ctx_(ctx), process_(getpid()) {}

Context::~Context() {
  close();
}

void Context::close() {
  if (std::exchange(closed_, true)) return;
  without_gil([&] { xfer_gd2fs_close(ctx_); });
  on_reaped_ = py::none();
  idle_queues_.clear();
  const auto lost = std::exchange(in_flight_, {});
  for (const auto& [id, entry] : lost) {
    entry.request.cast<Request&>().end(client_status(ECANCELED, XFER_GD2FS_STATUS_DETAIL_CTX), 0);
  }
}

void Context::raise_null(const std::string& reason, int otherwise) const {
  if (getpid() != process_) raise_os_error(EPERM, reason);
  if (closed_) raise_os_error(ECANCELED, reason);
  raise_os_error(otherwise, reason);
}

xfer_gd2fs_iomem* Context::reg_iomem(uint64_t address, uint64_t length) {
  std::string reason;
  xfer_gd2fs_iomem* const iomem = without_gil([&] {
    xfer_gd2fs_iomem* registered =
        xfer_gd2fs_reg_iomem(ctx_, reinterpret_cast<void*>(address), length, nullptr);
    if (registered == nullptr) reason = last_reason();
    return registered;
  });
  if (iomem == nullptr) raise_null(reason, EINVAL);
  return iomem;
}

int32_t Context::iomem_device(xfer_gd2fs_iomem* iomem) {
  int32_t device = -1;
  // A registration of our own that is open: the call has nothing to refuse but a closed ctx.
  if (xfer_gd2fs_iomem_device(ctx_, iomem, &device) != 0) return -1;
  return device;
}

xfer_gd2fs_counters Context::counters() {
  xfer_gd2fs_counters counters{};
  std::string reason;
  const int result = without_gil([&] {
    const int refused = xfer_gd2fs_get_counters(ctx_, &counters);
    if (refused < 0) reason = last_reason();
    return refused;
  });
  if (result < 0) raise_os_error(-result, reason);
  return counters;
}

void Context::dereg_iomem(xfer_gd2fs_iomem* iomem) {
  std::string reason;
  const int result = without_gil([&] {
    const int refused = xfer_gd2fs_dereg_iomem(ctx_, iomem);
    if (refused < 0) reason = last_reason();
    return refused;
  });
  // The end of the ctx ends its registrations too.
  if (result < 0 && !closed_) raise_os_error(-result, reason);
}

void Context::forget_iomem(xfer_gd2fs_iomem* iomem) {
  if (!closed_) xfer_gd2fs_dereg_iomem(ctx_, iomem);
}

xfer_gd2fs_cq* Context::make_queue() {
  xfer_gd2fs_cq* queue = xfer_gd2fs_cq_create(ctx_);
  if (queue == nullptr) raise_null(last_reason(), EMFILE);
  return queue;
}

void Context::destroy_queue(xfer_gd2fs_cq* queue) {
  if (closed_) return;
  without_gil([&] { xfer_gd2fs_cq_destroy(ctx_, queue); });
  std::vector<py::object> lost;
  for (auto entry = in_flight_.begin(); entry != in_flight_.end();) {
    if (entry->second.queue == queue) {
      lost.push_back(std::move(entry->second.request));
      entry = in_flight_.erase(entry);
    } else {
      ++entry;
    }
  }
  for (const py::object& request : lost) {
    request.cast<Request&>().end(client_status(ECANCELED, XFER_GD2FS_STATUS_DETAIL_REQUEST), 0);
  }
  if (!lost.empty()) note_reaped(static_cast<int>(lost.size()));
}

int Context::queue_fd(xfer_gd2fs_cq* queue) {
  const int fd = queue == nullptr ? xfer_gd2fs_get_fd(ctx_) : xfer_gd2fs_cq_get_fd(ctx_, queue);
  if (fd < 0) raise_os_error(-fd, last_reason());
  return fd;
}

void Context::enter(xfer_gd2fs_cq* queue, const py::object& object, xfer_gd2fs_op& op) {
  Request& request = object.cast<Request&>();
  const uint64_t id = ++last_id_;
  op.id = reinterpret_cast<void*>(id);
  op.request = request.number();
  in_flight_.emplace(id, Entry{object, queue});
  request.start(shared_from_this());
}

void Context::leave(const py::object& object, const xfer_gd2fs_op& op, int error) {
  in_flight_.erase(reinterpret_cast<uint64_t>(op.id));
  object.cast<Request&>().end(client_status(error, XFER_GD2FS_STATUS_DETAIL_REQUEST), 0);
}

size_t Context::submit_many(xfer_gd2fs_cq* queue, const std::vector<py::object>& objects,
                            std::vector<xfer_gd2fs_op>& ops, Refusal& refused) {
  for (size_t i = 0; i < ops.size(); ++i) enter(queue, objects[i], ops[i]);
  size_t accepted = 0;
  without_gil([&] {
    for (; accepted < ops.size(); ++accepted) {
      const ssize_t result = xfer_gd2fs_submit(ctx_, queue, &ops[accepted]);
      if (result >= 0) continue;
      refused = {static_cast<int>(-result), last_reason()};
      break;
    }
  });
  for (size_t i = accepted; i < ops.size(); ++i) leave(objects[i], ops[i], refused.error);
  return accepted;
}

void Context::submit(xfer_gd2fs_cq* queue, const py::object& object, xfer_gd2fs_op& op) {
  enter(queue, object, op);
  std::string reason;
  const ssize_t result = without_gil([&] {
    const ssize_t answer = xfer_gd2fs_submit(ctx_, queue, &op);
    if (answer < 0) reason = last_reason();
    return answer;
  });
  if (result >= 0) return;
  leave(object, op, static_cast<int>(-result));
  raise_os_error(static_cast<int>(-result), reason, object.cast<Request&>().filepath());
}

py::list Context::hand_out(const xfer_gd2fs_completion* completions, int count) {
  py::list requests;
  for (int i = 0; i < count; ++i) {
    const auto found = in_flight_.find(reinterpret_cast<uint64_t>(completions[i].id));
    if (found == in_flight_.end()) continue;  // close() was quicker
    const py::object object = std::move(found->second.request);
    in_flight_.erase(found);
    object.cast<Request&>().end(completions[i].status, completions[i].value);
    requests.append(object);
  }
  note_reaped(count);
  return requests;
}

void Context::note_reaped(int count) {
  reaped_ += static_cast<uint64_t>(count);
  const py::object on_reaped = on_reaped_;
  if (on_reaped.is_none()) return;
  try {
    on_reaped(count);
  } catch (py::error_already_set& error) {
    error.discard_as_unraisable("pygd2fs: waking requests that wait for a slot");
  }
}

py::list Context::reap(xfer_gd2fs_cq* queue, int timeout_ms) {
  const bool for_ever = timeout_ms < 0;
  const auto deadline = Clock::now() + std::chrono::milliseconds(std::max(timeout_ms, 0));
  xfer_gd2fs_completion completions[kReapMax];
  int slice_ms = for_ever ? kSignalCheckMs : std::min(timeout_ms, kSignalCheckMs);
  for (;;) {
    std::string reason;
    const int count = wait_once(ctx_, queue, completions, slice_ms, reason);
    if (count < 0 && g_python_ends && std::this_thread::get_id() != g_ending_thread) {
      const py::gil_scoped_release released;
      for (;;) pause();
    }
    if (count < 0) raise_os_error(-count, reason);
    if (count > 0) return hand_out(completions, count);
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (!for_ever) {
      if (Clock::now() >= deadline) return py::list();
      slice_ms = milliseconds_until(deadline);
    }
  }
}

void Context::drain(xfer_gd2fs_cq* queue, const Request& request) {
  xfer_gd2fs_completion completions[kReapMax];
  while (!request.done()) {
    std::string reason;
    const int count = wait_once(ctx_, queue, completions, -1, reason);
    if (count < 0) return;  // the ctx is being closed, which ends the request
    hand_out(completions, count);
  }
}

void Context::call(const py::object& object, xfer_gd2fs_op& op) {
  const Request& request = object.cast<Request&>();
  xfer_gd2fs_cq* queue;
  if (idle_queues_.empty()) {
    queue = make_queue();
  } else {
    queue = idle_queues_.back();
    idle_queues_.pop_back();
  }
  try {
    submit(queue, object, op);
    while (!request.done()) reap(queue, -1);
  } catch (...) {
    if (!request.done()) {
      cancel(*object.cast<Request&>().number());
      drain(queue, request);
    }
    if (!closed_) idle_queues_.push_back(queue);
    throw;
  }
  if (!closed_) idle_queues_.push_back(queue);
}

bool Context::cancel(uint64_t number) {
  return without_gil([&] { return xfer_gd2fs_cancel(ctx_, number) == 0; });
}

}  // namespace pygd2fs
