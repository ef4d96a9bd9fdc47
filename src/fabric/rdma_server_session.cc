// The server's end of RDMA: WRITEs into clients' windows, and READs out of them.
#include <algorithm>

#include "base/crc32c.h"
#include "fabric/rdma_session.h"
#include "fabric/stripes.h"

namespace gd2fs {
namespace {

Status broken_rule(std::string_view what) {
  return {StatusCode::invalid, what};
}

}  // namespace

RdmaServerSession::~RdmaServerSession() {
  destroy_queue();
}

void RdmaServerSession::Remote::reset() {
  constexpr size_t kSegmentsKept = 64;  // of what one huge window needed
  if (segments.capacity() > kSegmentsKept) {
    segments = decltype(segments)();
    ends = decltype(ends)();
  }
  segments.clear();
  ends.clear();
  unposted = reads = transfers = 0;
  moved_bytes = 0;
  over = recalled = has_reply = false;
}

uint64_t RdmaServerSession::direct_bytes(uint64_t request_id) const {
  const Remote* const remote = remotes_.find(request_id);
  return remote == nullptr ? 0 : remote->moved_bytes;
}

// --- what arrives ---

Status RdmaServerSession::take_special(InFrame& frame) {
  switch (frame.header.kind) {
    case FrameKind::window:
      GD2FS_TRY(take_window(frame));
      // What is left is a message like any other.
      frame.header.kind = FrameKind::message;
      frame.header.type = static_cast<uint16_t>(frame.header.length);
      frame.body = frame.body.subspan(frame.header.offset);
      return take_message(frame);
    case FrameKind::recall:
      take_recall(frame.header.request_id);
      return {};
    default:
      return broken_rule("a frame that only a server sends over RDMA, or nobody");
  }
}

Status RdmaServerSession::take_window(const InFrame& frame) {
  const uint64_t id = frame.header.request_id;
  if (remotes_.size() >= kWindowsMax) return broken_rule("the peer shows more windows than it may");
  Remote* const inserted = incoming_.contains(id) ? nullptr : remotes_.insert(id);
  if (inserted == nullptr) return broken_rule("the peer used a request id twice");
  Remote& remote = *inserted;
  remote.reset();
  remote.source = (frame.header.type & kWindowSource) != 0;
  remote.device = (frame.header.type & kWindowDevice) != 0;
  for (size_t at = 0; at < frame.header.offset; at += sizeof(RemoteSegment)) {
    const auto segment = load_le<RemoteSegment>(frame.body.data() + at);
    const uint64_t before = remote.length_bytes();
    if (segment.length_bytes == 0 || segment.length_bytes > kWindowMaxBytes - before) {
      return broken_rule("the peer shows a window that cannot be");
    }
    remote.segments.push_back(segment);
    remote.ends.push_back(before + segment.length_bytes);
  }
  return {};
}

void RdmaServerSession::take_recall(uint64_t request_id) {
  ++counters().recalls;
  Remote* const remote = remotes_.find(request_id);
  if (remote == nullptr) return send_bare(FrameKind::recalled, request_id);
  if (!std::exchange(remote->recalled, true)) ++recalled_;
  drop_request(request_id);
}

// --- transfers ---

bool RdmaServerSession::may_move(const Remote* remote, uint64_t offset, ConstBytes bytes) {
  if (closing_ || remote == nullptr || remote->over || bytes.empty()) return false;
  // What lies outside of its window goes to the client as a stripe, and that ends the session.
  if (offset > remote->length_bytes() || bytes.size() > remote->length_bytes() - offset) {
    return false;
  }
  return memory_covers(bytes.data(), bytes.size());
}

// What cannot be moved by the NIC goes through the stream, but not into or out of GPU memory.
bool RdmaServerSession::refuse(const Remote* remote, Completion& done) {
  if (closing_ || remote == nullptr || !remote->device || remote->over) return false;
  done.start();
  loop_.complete(done, Status(StatusCode::unavailable,
                              "this server's memory is not registered with the NIC (yet)"));
  return true;
}

void RdmaServerSession::push(Push& push) {
  Remote* const remote = remotes_.find(push.request_id);
  if (!may_move(remote, push.offset, push.bytes) || remote->source) {
    if (refuse(remote, push.done)) return;
    counters().copied_bytes += push.bytes.size();
    if (!std::exchange(push.has_crc, true)) push.crc = crc32c(push.bytes);
    return TcpSession::push(push);
  }
  if (begin_push(push) == nullptr) return;
  ++remote->unposted;
  ++remote->transfers;
  remote->moved_bytes += push.bytes.size();
  (push.bytes.size() <= kSmallPushBytes ? small_writes_ : large_writes_).push_back(push);
  kick();
}

void RdmaServerSession::pull(Pull& pull) {
  Remote* const remote = remotes_.find(pull.request_id);
  const Incoming* const request = incoming_.find(pull.request_id);
  if (!may_move(remote, pull.offset, pull.into) || !remote->source || request == nullptr ||
      request->replied) {
    if (refuse(remote, pull.done)) return;
    counters().copied_bytes += pull.into.size();
    return TcpSession::pull(pull);
  }
  pull.done.start();
  pull.asked_bytes = 0;
  pull.reads_busy = 0;
  pull.outcome = Status();
  ++remote->reads;
  ++remote->transfers;
  remote->moved_bytes += pull.into.size();
  reads_.push_back(pull);
  kick();
}

// What one work request can move of `length_bytes` bytes at that place. False: the memory is gone.
bool RdmaServerSession::next_range(const Remote& remote, uint64_t offset, std::byte* local,
                                   uint64_t length_bytes, RdmaQueue::Range* out) {
  const auto at = static_cast<size_t>(
      std::upper_bound(remote.ends.begin(), remote.ends.end(), offset) - remote.ends.begin());
  CHECK(at < remote.segments.size());
  const RemoteSegment& segment = remote.segments[at];
  const uint64_t skip = offset - (remote.ends[at] - segment.length_bytes);
  length_bytes = std::min({length_bytes, segment.length_bytes - skip, uint64_t{kMoveMaxBytes}});
  const RdmaMemory::Part part = find_memory(local, length_bytes, 0);
  out->local = local;
  out->local_key = part.local_key;
  out->remote = segment.address + skip;
  out->remote_key = segment.key;
  out->length_bytes = static_cast<uint32_t>(part.length_bytes);
  return part.length_bytes > 0;
}

void RdmaServerSession::move_bytes() {
  bool progress = true;
  while (progress && !closing_ && queue()->can_move() && posted_bytes_ < kPostedMaxBytes) {
    if (!small_writes_.empty()) {
      progress = write_next(small_writes_);
    } else if (!reads_.empty()) {
      progress = read_next();
    } else {
      progress = !large_writes_.empty() && write_next(large_writes_);
    }
  }
}

// Whether the second push goes on where the first ends, here and there.
bool RdmaServerSession::continues(const Push& first, const Push& second) {
  return second.request_id == first.request_id &&
         second.offset == first.offset + first.bytes.size() &&
         second.bytes.data() == first.bytes.data() + first.bytes.size();
}

// One WRITE: a part of the first push, or its rest together with others that continue it.
bool RdmaServerSession::write_next(List<Push>& from) {
  Push& first = *from.front();
  uint64_t run = first.bytes.size() - first.cut_bytes;
  const Push* last = &first;
  for (Push* next = from.next(first);
       next != nullptr && continues(*last, *next) && run + next->bytes.size() <= kMoveMaxBytes;
       next = from.next(*next)) {
    run += next->bytes.size();
    last = next;
  }
  const uint64_t request_id = first.request_id;
  Remote* const remote = remotes_.find(request_id);
  CHECK(remote != nullptr);
  RdmaQueue::Range range;
  // The NIC only reads it.
  auto* const local = const_cast<std::byte*>(first.bytes.data()) + first.cut_bytes;
  if (!next_range(*remote, first.offset + first.cut_bytes, local, run, &range)) {
    fail(Status(StatusCode::io, "memory was deregistered under a push"));
    return false;
  }
  uint64_t left = range.length_bytes;
  uint32_t pushes = 0;
  while (left > 0) {
    Push& push = *from.front();
    const uint64_t length = std::min(left, push.bytes.size() - push.cut_bytes);
    // Others are taken as a whole.
    if (pushes > 0 && length < push.bytes.size()) break;
    left -= length;
    ++pushes;
    ++push.stripes_busy;
    push.cut_bytes += length;
    if (!fully_cut(push)) break;
    flying_writes_.push_back(push);  // leaves `from`
    --remote->unposted;
  }
  range.length_bytes -= static_cast<uint32_t>(left);
  queue()->write(range, first, pushes);
  posted_bytes_ += range.length_bytes;
  counters().written_bytes += range.length_bytes;
  settle(request_id, *remote);
  return true;
}

bool RdmaServerSession::read_next() {
  Pull& pull = *reads_.front();
  const Remote* const remote = remotes_.find(pull.request_id);
  CHECK(remote != nullptr);
  RdmaQueue::Range range;
  if (!next_range(*remote, pull.offset + pull.asked_bytes, pull.into.data() + pull.asked_bytes,
                  pull.into.size() - pull.asked_bytes, &range)) {
    fail(Status(StatusCode::io, "memory was deregistered under a pull"));
    return false;
  }
  queue()->read(range, pull);
  ++pull.reads_busy;
  pull.asked_bytes += range.length_bytes;
  posted_bytes_ += range.length_bytes;
  counters().read_bytes += range.length_bytes;
  if (pull.asked_bytes == pull.into.size()) flying_reads_.push_back(pull);
  return true;
}

void RdmaServerSession::on_work_done(const RdmaQueue::Work& work) {
  posted_bytes_ -= work.length_bytes;
  if (has_bytes_to_move()) kick();  // perhaps for want of just this room
  if (work.push != nullptr) {
    // They were posted together, so they stand one behind the other.
    Push* push = work.push;
    for (uint32_t i = 0; i < work.pushes; ++i) {
      Push* const next = i + 1 < work.pushes ? flying_writes_.next(*push) : nullptr;
      if (--push->stripes_busy == 0 && (fully_cut(*push) || !push->outcome.ok())) end_write(*push);
      push = next;
    }
  } else {
    Pull& pull = *work.pull;
    if (--pull.reads_busy > 0) return;
    if (!pull.outcome.ok()) return end_read(pull, pull.outcome);
    if (pull.asked_bytes < pull.into.size()) return;
    take_block_crcs(pull);
    end_read(pull, Status());
  }
}

void RdmaServerSession::end_write(Push& push) {
  const uint64_t id = push.request_id;
  finish_push(push);
  Remote& remote = *remotes_.find(id);
  --remote.transfers;
  settle(id, remote);
}

void RdmaServerSession::end_read(Pull& pull, Status status) {
  const uint64_t id = pull.request_id;
  pull.unlink();
  const uint64_t moved = status.ok() ? pull.into.size() : 0;
  loop_.complete(pull.done, std::move(status), moved);
  Remote& remote = *remotes_.find(id);
  --remote.reads;
  --remote.transfers;
  settle(id, remote);
}

// --- answers ---

Status RdmaServerSession::reply(uint16_t type, uint64_t request_id, ConstBytes body) {
  Remote* const remote = remotes_.find(request_id);
  if (closing_ || remote == nullptr || remote->over) {
    return TcpSession::reply(type, request_id, body);
  }
  if (remote->unposted == 0 && remote->reads == 0) {
    GD2FS_TRY(TcpSession::reply(type, request_id, body));
    remote->over = true;
    settle(request_id, *remote);
    return {};
  }
  // Behind the last of its bytes.
  if (body.size() > kFrameBodyMaxBytes) return {StatusCode::invalid, "the reply is over 1 MiB"};
  if (std::exchange(remote->has_reply, true)) return {};
  remote->reply_type = type;
  remote->reply_body.assign(body.begin(), body.end());
  return {};
}

// Does what can be done about a window now that something of it has ended.
void RdmaServerSession::settle(uint64_t request_id, Remote& remote) {
  if (remote.has_reply && !remote.over && remote.unposted == 0 && remote.reads == 0) {
    remote.has_reply = false;
    const Status sent = TcpSession::reply(remote.reply_type, request_id, remote.reply_body);
    if (!sent.ok()) return fail(sent);
    remote.over = true;
  }
  if (!remote.over || remote.transfers > 0) return;
  if (remote.recalled) {
    --recalled_;
    send_bare(FrameKind::recalled, request_id);
  }
  remotes_.erase(request_id);
}

void RdmaServerSession::drop_request(uint64_t request_id) {
  Remote* const remote = remotes_.find(request_id);
  if (remote == nullptr || closing_) return TcpSession::drop_request(request_id);
  remote->over = true;
  remote->unposted = 0;
  remote->has_reply = false;
  ++remote->transfers;  // so that it stays until the end of this
  const Status canceled(StatusCode::canceled, "the request was dropped");
  for (List<Push>* list : {&small_writes_, &large_writes_, &flying_writes_}) {
    for (Push* push = list->front(); push != nullptr;) {
      Push* const next = list->next(*push);
      if (push->request_id == request_id) {
        push->outcome = canceled;
        if (push->stripes_busy == 0) {
          end_write(*push);
        } else if (list != &flying_writes_) {
          flying_writes_.push_back(*push);
        }
      }
      push = next;
    }
  }
  for (List<Pull>* list : {&reads_, &flying_reads_}) {
    for (Pull* pull = list->front(); pull != nullptr;) {
      Pull* const next = list->next(*pull);
      if (pull->request_id == request_id) {
        pull->outcome = canceled;
        if (pull->reads_busy == 0) {
          end_read(*pull, canceled);
        } else if (list != &flying_reads_) {
          flying_reads_.push_back(*pull);
        }
      }
      pull = next;
    }
  }
  TcpSession::drop_request(request_id);
  --remote->transfers;
  settle(request_id, *remote);
}

// The memory of what was posted is free only now.
void RdmaServerSession::on_queue_gone() {
  const Status lost(StatusCode::unavailable, close_reason_.text(), close_reason_.errno_value());
  for (List<Push>* list : {&small_writes_, &large_writes_, &flying_writes_}) {
    while (Push* push = list->pop_front()) loop_.complete(push->done, lost);
  }
  for (List<Pull>* list : {&reads_, &flying_reads_}) {
    while (Pull* pull = list->pop_front()) loop_.complete(pull->done, lost);
  }
  remotes_.clear();
  recalled_ = 0;
}

}  // namespace gd2fs
