#include "sim/sim_session.h"

#include <algorithm>

#include "fabric/reply.h"
#include "fabric/stripes.h"

namespace gd2fs {

SimSession::SimSession(SimNetwork& network, SimLink& link, int side, Loop& loop, Peer peer)
    : network_(network),
      link_(&link),
      side_(side),
      loop_(loop),
      peer_(std::move(peer)),
      lanes_(static_cast<uint32_t>(link.lanes[side].size())),
      last_arrival_ns_(loop.now_ns()) {
  inbox_ready_.bind<&SimSession::on_inbox>(this);
  closed_.bind<&SimSession::on_close>(this);
  send_ready_.bind<&SimSession::on_send_ready>(this);
  send_delay_.bind<&SimSession::on_send_delay>(this);
  keepalive_.bind<&SimSession::on_keepalive>(this);
  link.ends[side] = this;
}

SimSession::~SimSession() {
  if (link_ != nullptr) network_.detach(*link_, side_);
}

void SimSession::start() {
  started_ = true;
  last_arrival_ns_ = loop_.now_ns();
  loop_.start(keepalive_, network_.faults.ping_after_ns);
  if (!inbox_.empty()) queue_inbox();
}

void SimSession::die() {
  dead_ = true;
  closing_ = true;
  link_ = nullptr;
  inbox_.clear();
  for (Completion* done : {&inbox_ready_, &closed_, &send_ready_}) done->unlink();
  loop_.cancel(send_delay_);
  loop_.cancel(keepalive_);
}

void SimSession::arrive(SimFrame frame) {
  if (frame.closing) link_ = nullptr;
  inbox_.push_back(std::move(frame));
  if (started_) queue_inbox();
}

void SimSession::queue_inbox() {
  if (!inbox_ready_.pending() && !closing_) loop_.complete(inbox_ready_, Status());
}

void SimSession::on_inbox(Completion&) {
  CHECK(events_ != nullptr);
  last_arrival_ns_ = loop_.now_ns();
  while (!inbox_.empty() && !closing_) {
    SimFrame frame = std::move(inbox_.front());
    inbox_.pop_front();
    handle(frame);
  }
}

void SimSession::handle(SimFrame& frame) {
  if (frame.closing) {
    close(Status(StatusCode::unavailable, peer_.address + ": connection reset by peer"));
    return;
  }
  switch (frame.kind) {
    case FrameKind::message:
      return handle_message(frame);
    case FrameKind::reply:
      return handle_reply(frame);
    case FrameKind::stripe:
      return handle_stripe(frame);
    case FrameKind::pull:
      return handle_pull(frame);
    case FrameKind::pulled:
      return handle_pulled(frame);
    case FrameKind::pull_gone:
      return handle_pull_gone(frame);
    case FrameKind::ping: {
      SimFrame pong;
      pong.kind = FrameKind::pong;
      return send_frame(0, std::move(pong));
    }
    case FrameKind::pong:
      return;
    default:  // of shared memory, which the simulation does not have
      CHECK(false);
  }
}

void SimSession::on_keepalive(Completion&) {
  const SimNetworkFaults& faults = network_.faults;
  const uint64_t now_ns = loop_.now_ns();
  const uint64_t silent_ns = now_ns - last_arrival_ns_;
  if (silent_ns >= faults.dead_after_ns) {
    close(Status(StatusCode::unavailable, peer_.address + ": silent for too long"));
    return;
  }
  if (silent_ns < faults.ping_after_ns) {
    loop_.start_at(keepalive_, last_arrival_ns_ + faults.ping_after_ns);
    return;
  }
  SimFrame ping;
  ping.kind = FrameKind::ping;
  send_frame(0, std::move(ping));
  loop_.start_at(keepalive_,
                 std::min(now_ns + faults.ping_after_ns, last_arrival_ns_ + faults.dead_after_ns));
}

void SimSession::send_frame(uint32_t lane, SimFrame frame) {
  // Into a connection that the network has broken already: lost.
  if (link_ != nullptr) network_.transmit(*link_, 1 - side_, lane, std::move(frame));
}

uint32_t SimSession::any_lane() {
  return static_cast<uint32_t>(network_.random_.below(lanes_));
}

// --- messages ---

Status SimSession::send(uint16_t type, uint64_t request_id, ConstBytes body, Window* window) {
  if (closing_) return {StatusCode::unavailable, "the session is closed"};
  if (body.size() > kFrameBodyMaxBytes) return {StatusCode::invalid, "the message is over 1 MiB"};
  if (link_ != nullptr &&
      link_->lanes[1 - side_][0].queued_bytes + body.size() > kSendQueueMaxBytes) {
    return {StatusCode::busy, "the peer does not read its messages"};
  }
  SimFrame frame;
  frame.type = type;
  frame.request_id = request_id;
  frame.body.assign(body.begin(), body.end());
  if (window != nullptr && window->direction == Window::Direction::source) {
    const uint64_t length = window->total_bytes;
    if (length > 0 && length <= kEagerMaxBytes &&
        eager_out_bytes_ + length <= kEagerTotalMaxBytes) {
      frame.eager = true;
      frame.payload.resize(length);
      copy_out_of(*window, 0, frame.payload);
      window->moved_bytes = length;
      eager_out_[request_id] = length;
      eager_out_bytes_ += length;
    }
  }
  send_frame(0, std::move(frame));
  return {};
}

void SimSession::handle_message(SimFrame& frame) {
  if (frame.request_id != 0) {
    if (incoming_.contains(frame.request_id)) {
      close(Status(StatusCode::invalid, "the peer used a request id twice"));
      return;
    }
    Incoming& request = incoming_[frame.request_id];
    if (incoming_.size() > kRequestsMax) {
      reply_error(*this, frame.request_id, Status(StatusCode::busy, "requests_max reached"));
      return;
    }
    if (frame.eager && eager_in_bytes_ + frame.payload.size() <= kEagerTotalMaxBytes) {
      request.has_eager = true;
      request.eager = std::move(frame.payload);
      eager_in_bytes_ += request.eager.size();
    }
  }
  events_->on_message(*this, {FrameKind::message, frame.type, frame.request_id, frame.body});
}

Status SimSession::reply(uint16_t type, uint64_t request_id, ConstBytes body) {
  if (closing_) return {StatusCode::unavailable, "the session is closed"};
  if (body.size() > kFrameBodyMaxBytes) return {StatusCode::invalid, "the reply is over 1 MiB"};
  const auto found = incoming_.find(request_id);
  if (found == incoming_.end()) return {};
  SimFrame frame;
  frame.kind = FrameKind::reply;
  frame.type = type;
  frame.request_id = request_id;
  frame.offset = found->second.pushed_bytes;
  frame.body.assign(body.begin(), body.end());
  eager_in_bytes_ -= found->second.eager.size();
  incoming_.erase(found);
  send_frame(0, std::move(frame));
  return {};
}

void SimSession::handle_reply(SimFrame& frame) {
  if (const auto eager = eager_out_.find(frame.request_id); eager != eager_out_.end()) {
    eager_out_bytes_ -= eager->second;
    eager_out_.erase(eager);
  }
  HeldReply reply{frame.type, frame.offset, std::move(frame.body)};
  const auto window = windows_.find(frame.request_id);
  if (window != windows_.end() && window->second->direction == Window::Direction::sink &&
      window->second->moved_bytes != reply.pushed_bytes) {
    if (window->second->moved_bytes > reply.pushed_bytes || held_.contains(frame.request_id)) {
      close(Status(StatusCode::invalid, "the peer's reply does not match its pushes"));
      return;
    }
    held_.emplace(frame.request_id, std::move(reply));
    return;
  }
  deliver_reply(frame.request_id, reply);
}

void SimSession::deliver_reply(uint64_t request_id, const HeldReply& reply) {
  events_->on_reply(*this, {FrameKind::reply, reply.type, request_id, reply.body});
}

// --- the end ---

void SimSession::close(Status reason) {
  if (closing_) return;
  closing_ = true;
  close_reason_ = std::move(reason);
  const Status lost(StatusCode::unavailable, close_reason_.text(), close_reason_.errno_value());
  windows_.clear();
  held_.clear();
  incoming_.clear();
  outgoing_.clear();
  inbox_.clear();
  loop_.cancel(keepalive_);
  loop_.cancel(send_delay_);
  while (Push* push = pushes_.front()) {
    push->outcome = lost;
    finish_push(*push);
  }
  while (Pull* pull = pulls_.front()) finish_pull(*pull, lost);
  if (link_ != nullptr) network_.detach(*std::exchange(link_, nullptr), side_);
  loop_.complete(closed_, Status());
}

void SimSession::on_close(Completion&) {
  const Status reason = std::move(close_reason_);  // the owner may destroy us in there
  events_->on_closed(*this, reason);
}

}  // namespace gd2fs
