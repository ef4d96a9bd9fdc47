// The requests of a ctx: from submit() to the completion that wait() gives out.
#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "client/ctx_queue_ref.h"
#include "client/op_check.h"
#include "client/view_table.h"

namespace gd2fs::client {
namespace {

void copy_facts(const FileFacts& facts, xfer_gd2fs_stat* out) {
  std::memset(out, 0, sizeof *out);
  out->size = facts.size_bytes;
  out->inode = facts.inode;
  out->generation = facts.generation;
  out->chunk_bytes = facts.chunk_bytes;
  out->mtime_us = facts.mtime_us;
  out->ctime_us = facts.ctime_us;
  out->pin = facts.pinned ? 1 : 0;
  out->type = static_cast<uint32_t>(facts.type);
}

void copy_entries(const std::vector<DirectoryEntry>& entries, xfer_gd2fs_dirent* out) {
  for (const DirectoryEntry& entry : entries) {
    std::memset(out, 0, sizeof *out);
    out->size = entry.size_bytes;
    out->mtime_us = entry.mtime_us;
    out->inode = entry.inode;
    out->type = static_cast<uint32_t>(entry.type);
    // A name has at most 255 bytes: checked where it came in.
    std::memcpy(out->name, entry.name.data(), entry.name.size());
    ++out;
  }
}

}  // namespace

Result<uint64_t> Ctx::submit(QueueHandle queue_handle, const xfer_gd2fs_op& op) {
  const QueueRef queue(*this, queue_handle);
  if (queue.get() == nullptr) return fail(StatusCode::invalid, "no such completion queue", EINVAL);
  Slot* slot = slots_.get();
  if (slot == nullptr) return fail(StatusCode::busy, "requests_max are in flight", EAGAIN);
  Status taken = take_op(op, iomems_, slot);
  if (taken.ok()) {
    taken = take_fence(op.gpu_stream, slot);
    if (!taken.ok()) unpin_all(iomems_, slot);
  }
  if (!taken.ok()) {
    slots_.put(*slot);
    return fail(taken);
  }
  const uint64_t accepted = slot->memory.length_bytes();
  slot->queue = queue.get();
  slot->completion = {};
  slot->completion.id = op.id;
  slot->in_flight.store(true);
  in_flight_.fetch_add(1);
  queue.get()->in_flight.fetch_add(1);
  if (op.request != nullptr) *op.request = slot->number.load();
  if (!thread_->submit(slot->start) && slot->in_flight.exchange(false)) {
    unpin_all(iomems_, slot);
    slots_.put(*slot);
    count_down(queue.get()->in_flight);
    count_down(in_flight_);
    return fail(cannot_run());
  }
  // The loop may have broken between the two: then nobody else finishes this one.
  if (thread_->poisoned()) poison();
  return accepted;
}

void Ctx::start_on_loop(Slot& slot) {
  const bool cancel_first = std::exchange(slot.cancel_first, false);
  Status refused;
  Origin origin = Origin::ctx;
  if (closing_.load() || slot.queue->closing.load()) {
    refused = Status(StatusCode::canceled, "closed");
  } else if (cancel_first) {
    refused = Status(StatusCode::canceled, "canceled");
    origin = Origin::request;
  } else {
    for (const IomemHandle pin : slot.pins) {
      if (!iomems_.closing(pin)) continue;
      refused = Status(StatusCode::canceled, "the iomem was deregistered");
      origin = Origin::iomem;
      break;
    }
  }
  if (!refused.ok()) return finish(slot, completion_status(refused, origin), 0);
  slot.on_loop = true;
  client_->submit(slot);
}

void Ctx::cancel_on_loop(Slot& slot) {
  const uint64_t number = slot.cancel_number.load();
  if (slot.number.load() != number || !slot.in_flight.load()) return;
  if (!slot.on_loop) {
    slot.cancel_first = true;
    return;
  }
  client_->cancel(slot, Status(StatusCode::canceled, "canceled"), Origin::request);
}

void Ctx::end_on_loop(Slot& slot) {
  slot.on_loop = false;
  if (slot.status.ok()) {
    if (slot.stat != nullptr) copy_facts(slot.facts, slot.stat);
    if (slot.entries != nullptr) copy_entries(slot.Request::entries, slot.entries);
    if (slot.view != nullptr) slot.status = give_view(slot);
  } else {
    GD2FS_LOG_DEBUG("{}: {}", slot.path, slot.status.to_string());
  }
  finish(slot, completion_status(slot.status, slot.origin), slot.value);
}

Status Ctx::give_view(Slot& slot) {
  xfer_gd2fs_view& view = *slot.view;
  std::memset(&view, 0, sizeof view);
  view.addr = slot.view_buffer;
  view.len = slot.value;
  if (slot.lent.empty()) return {};
  view.addr = slot.lent.front().bytes.data();
  view.zero_copy = 1;
  view.number = ViewTable::instance().add(std::move(slot.lent));
  slot.lent.clear();
  if (view.number == 0) return {StatusCode::busy, "views_max are out", EMFILE};
  return {};
}

void Ctx::finish(Slot& slot, uint16_t status, uint64_t value) {
  if (!slot.in_flight.exchange(false)) return;
  slot.completion.status = status;
  slot.completion.value = status == 0 ? value : 0;
  slot.fence.reset();
  // Before anybody can see the completion: its reaper may deregister at once.
  unpin_all(iomems_, &slot);
  Queue* queue = slot.queue;
  queue->finished.push(slot);  // the slot may be another request's from here on
  count_down(queue->in_flight);
  count_down(in_flight_);
}

Status Ctx::cancel(uint64_t number) {
  Slot* slot = slots_.find(number);
  if (slot == nullptr || !slot->in_flight.load()) {
    return {StatusCode::not_found, "no such request in flight", ENOENT};
  }
  slot->cancel_number.store(number);
  return thread_->submit(slot->cancel) ? Status() : cannot_run();
}

Result<size_t> Ctx::wait_for_finished(Queue& queue, std::span<CompletionQueue::Finished*> out,
                                      uint64_t deadline_ns) {
  Result<size_t> finished = queue.finished.wait(out, deadline_ns);
  if (finished.has_value() || !thread_->poisoned()) return finished;
  // Who found the loop broken may still be waiting for copies before it ends the requests.
  poison();
  wait_for_zero(queue.in_flight);
  const size_t taken = queue.finished.take(out);
  if (taken > 0) return taken;
  return finished;
}

Result<size_t> Ctx::wait(QueueHandle queue_handle, std::span<xfer_gd2fs_completion> out,
                         int timeout_ms) {
  constexpr size_t kAtOnce = 64;
  const QueueRef queue(*this, queue_handle);
  if (queue.get() == nullptr) return fail(StatusCode::invalid, "no such completion queue", EINVAL);
  uint64_t deadline_ns = 0;
  if (timeout_ms < 0) {
    deadline_ns = UINT64_MAX;
  } else if (timeout_ms > 0) {
    deadline_ns = clock_.now_ns() + static_cast<uint64_t>(timeout_ms) * kMs;
  }
  size_t reaped = 0;
  CompletionQueue::Finished* finished[kAtOnce];
  CompletionQueue& from = queue.get()->finished;
  while (reaped < out.size()) {
    const std::span some(finished, std::min(kAtOnce, out.size() - reaped));
    size_t got = 0;
    if (reaped == 0) {
      GD2FS_ASSIGN(got, wait_for_finished(*queue.get(), some, deadline_ns));
    } else {
      got = from.take(some);
    }
    for (size_t i = 0; i < got; ++i) {
      auto& slot = static_cast<Slot&>(*finished[i]);
      out[reaped++] = slot.completion;
      slots_.put(slot);
    }
    if (got < some.size()) break;
  }
  return reaped;
}

}  // namespace gd2fs::client
