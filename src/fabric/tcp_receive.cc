// What arrives on a TcpSession.
#include "fabric/reply.h"
#include "fabric/stripes.h"
#include "fabric/tcp_session.h"

namespace gd2fs {
namespace {

Status violation(std::string_view what) {
  return {StatusCode::invalid, what};
}

}  // namespace

Result<Landing> TcpSession::on_header(TcpLane& lane, const FrameHeader& header) {
  switch (header.kind) {
    case FrameKind::message:
    case FrameKind::reply:
      // Keeps their order, and the memory for bodies to one lane.
      if (lane.index() != 0) return gd2fs::fail(violation("a message on a lane other than 0"));
      return Landing();
    case FrameKind::stripe:
      return land_stripe(header);
    case FrameKind::pulled:
      return land_pulled(header);
    default:
      return Landing();
  }
}

Result<Landing> TcpSession::land_stripe(const FrameHeader& header) {
  Window* const window = window_of(header.request_id);
  if (window == nullptr) return Landing();  // withdrawn: drained
  GD2FS_TRY(check_push(*window, header));
  Landing landing;
  landing.window = window;
  landing.offset = header.offset;
  return landing;
}

Pull* TcpSession::find_pull(const FrameHeader& header, uint64_t length_bytes, Bytes* place) {
  Incoming* const request = incoming_.find(header.request_id);
  if (request == nullptr) return nullptr;
  List<Pull>& pulls = request->pulls;
  for (Pull* pull = pulls.front(); pull != nullptr; pull = pulls.next(*pull)) {
    *place = place_of(*pull, header.offset, length_bytes);
    if (!place->empty()) return pull;
  }
  return nullptr;
}

Landing TcpSession::land_pulled(const FrameHeader& header) {
  Landing landing;
  if (bulk_ != nullptr && !bulk_->board().claim(header)) return landing;  // another lane has it
  landing.pull = find_pull(header, header.payload_bytes, &landing.memory);
  if (landing.pull != nullptr) {
    landing.block_crcs = crcs_of(*landing.pull, header.offset, header.payload_bytes);
  }
  return landing;
}

Status TcpSession::on_frame(TcpLane& lane, InFrame& frame) {
  Status status;
  switch (frame.header.kind) {
    case FrameKind::message:
      status = take_message(frame);
      break;
    case FrameKind::reply:
      status = take_reply(frame);
      break;
    case FrameKind::stripe:
      status = take_stripe(frame);
      break;
    case FrameKind::pull:
      status = take_pull(frame.header);
      break;
    case FrameKind::pulled:
      status = take_pulled(frame);
      break;
    case FrameKind::pull_gone:
      status = take_pull_gone(frame.header);
      break;
    case FrameKind::ping:
      if (!lane.pong_queued) {
        lane.pong_queued = true;
        queue_bare(lane, FrameKind::pong);
      }
      break;
    case FrameKind::pong:
      break;
    default:
      status = take_special(frame);
  }
  if (closing_) return {StatusCode::canceled, "closed"};  // nothing more is taken
  return status;
}

Status TcpSession::take_message(InFrame& frame) {
  CHECK(events_ != nullptr);
  const uint64_t id = frame.header.request_id;
  if (id != 0) {
    Incoming* const request = incoming_.insert(id);
    if (request == nullptr) return violation("the peer used a request id twice");
    // The one that served before had ended: no pull, no push, no eager bytes.
    request->replied = false;
    request->pushed_bytes = 0;
    ++unanswered_;
    if (unanswered_ > kRequestsMax) {
      reply_error(*this, id, Status(StatusCode::busy, "requests_max reached"));
      return {};
    }
    // Bytes that changed while they were sent, or that are too many, are pulled when they are
    // wanted.
    if (!frame.eager.empty() && frame.payload_ok &&
        eager_in_bytes_ + frame.eager.size() <= kEagerTotalMaxBytes) {
      request->has_eager = true;
      request->eager = std::move(frame.eager);
      eager_in_bytes_ += request->eager.size();
    }
  }
  events_->on_message(*this, {FrameKind::message, frame.header.type, id, frame.body});
  return {};
}

Status TcpSession::take_reply(InFrame& frame) {
  const uint64_t id = frame.header.request_id;
  release_eager(id);
  const Window* const window = window_of(id);
  if (window != nullptr && window->direction == Window::Direction::sink) {
    const uint64_t moved = window->moved_bytes;
    const uint64_t pushed = frame.header.offset;
    const bool twice = !held_.empty() && held_.contains(id);
    if (moved > pushed || pushed > window->total_bytes || twice) {
      return violation("the reply does not match the bytes pushed for it");
    }
    if (moved < pushed) {
      held_.emplace(id,
                    HeldReply{frame.header.type, pushed, {frame.body.begin(), frame.body.end()}});
      return {};
    }
  }
  CHECK(events_ != nullptr);
  events_->on_reply(*this, {FrameKind::reply, frame.header.type, id, frame.body});
  return {};
}

Status TcpSession::take_stripe(InFrame& frame) {
  if (frame.drained) return {};
  if (!frame.payload_ok) return {StatusCode::corrupt, "stripe crc"};
  const FrameHeader& header = frame.header;
  return stripe_landed(header.request_id, *frame.landing.window, header.offset,
                       header.payload_bytes);
}

Status TcpSession::stripe_landed(uint64_t request_id, Window& window, uint64_t offset,
                                 uint64_t length_bytes) {
  if (window.straight != nullptr) window.straight->landed(offset, length_bytes);
  return landed(request_id, window, length_bytes);
}

Status TcpSession::landed(uint64_t request_id, Window& window, uint64_t length_bytes) {
  if (length_bytes > window.total_bytes - window.moved_bytes) {
    return violation("more bytes were pushed than the window has");
  }
  window.moved_bytes += length_bytes;
  const auto held = held_.find(request_id);
  if (held == held_.end() || window.moved_bytes < held->second.pushed_bytes) return {};
  if (window.moved_bytes > held->second.pushed_bytes) {
    return violation("the reply does not match the bytes pushed for it");
  }
  const HeldReply reply = std::move(held->second);
  held_.erase(held);
  events_->on_reply(*this, {FrameKind::reply, reply.type, request_id, reply.body});
  return {};
}

Status TcpSession::take_special(InFrame&) {
  return violation("a frame of a kind that another fabric has");
}

Status TcpSession::take_pull(const FrameHeader& header) {
  Window* const shown = window_of(header.request_id);
  if (shown == nullptr) return send_gone(header.request_id, header.offset, header.length);
  Window& window = *shown;
  if (window.direction != Window::Direction::source || window.straight != nullptr ||
      !inside(window, header.offset, header.length)) {
    return violation("the peer pulled outside of the window");
  }
  if (window.device) return violation("the peer pulled out of GPU memory by the CPU");
  if (answers_.size() >= kAnswersMax) return violation("the peer pulls more than it reads");
  answers_.push_back({&window, header.offset, header.length});
  kick();
  return {};
}

Status TcpSession::take_pulled(InFrame& frame) {
  if (frame.drained) return {};
  Pull& pull = *frame.landing.pull;
  // Another lane may have brought the same stripe meanwhile, from a peer that sends it twice.
  if (frame.payload_ok && place_of(pull, frame.header.offset, frame.header.payload_bytes).empty()) {
    return {};
  }
  pulled_arrived(pull, frame.header.offset, frame.payload_ok);
  return {};
}

void TcpSession::pulled_arrived(Pull& pull, uint64_t offset, bool right) {
  if (!right) {
    return finish_pull(pull, Status(StatusCode::corrupt, "the bytes changed while they were sent"));
  }
  mark_arrived(pull, offset);
  if (fully_arrived(pull)) {
    finish_pull(pull, Status());
  } else {
    ask(pull);
  }
}

// What a bulk lane has put where it belongs.
Status TcpSession::take_arrived(const BulkBoard::Arrived& arrived) {
  if (arrived.pull != nullptr) {
    pulled_arrived(*arrived.pull, arrived.offset, arrived.ok);
    return {};
  }
  if (!arrived.ok) return {StatusCode::corrupt, "stripe crc"};
  return stripe_landed(arrived.request_id, *arrived.window, arrived.offset, arrived.length_bytes);
}

Status TcpSession::take_pull_gone(const FrameHeader& header) {
  Bytes place;
  Pull* pull = find_pull(header, header.length, &place);
  if (pull != nullptr) {
    finish_pull(*pull, Status(StatusCode::canceled, "the peer withdrew its memory"));
  }
  return {};
}

}  // namespace gd2fs
