// The memory that a TcpSession moves: windows, pushes, pulls.
#include <algorithm>

#include "base/crc32c.h"
#include "fabric/stripes.h"
#include "fabric/tcp_session.h"

namespace gd2fs {
namespace {

uint32_t crc_of(Window& window, uint64_t offset, uint64_t length_bytes) {
  uint32_t crc = 0;
  while (length_bytes > 0) {
    iovec parts[16];
    const int count = window_parts(window, offset, length_bytes, parts, 16);
    CHECK(count > 0);
    for (int i = 0; i < count; ++i) {
      crc = crc32c_extend(crc, as_bytes(parts[i].iov_base, parts[i].iov_len));
      offset += parts[i].iov_len;
      length_bytes -= parts[i].iov_len;
    }
  }
  return crc;
}

}  // namespace

// --- the requester's windows ---

void TcpSession::expose(Window& window) {
  CHECK(window.request_id != 0 && !windows_.contains(window.request_id));
  window.total_bytes = window.length_bytes();
  window.device = std::ranges::any_of(
      window.segments, [](const MemorySegment& segment) { return segment.target != 0; });
  window.moved_bytes = 0;
  window.hint_segment = 0;
  window.hint_offset = 0;
  if (!closing_) windows_.emplace(window.request_id, &window);
}

void TcpSession::withdraw(Window& window, Completion& done) {
  done.start();
  loop_.complete(done, Status());
  forget_window(window);
}

void TcpSession::forget_window(Window& window) {
  release_eager(window.request_id);
  const auto found = windows_.find(window.request_id);
  if (found == windows_.end() || found->second != &window) return;
  windows_.erase(found);
  held_.erase(window.request_id);
  std::vector<PullRange> gone;
  std::erase_if(answers_, [&](const Answer& answer) {
    if (answer.window != &window) return false;
    gone.push_back({answer.offset, answer.length_bytes});
    return true;
  });
  for (auto& lane : lanes_) {
    if (lane == nullptr) continue;
    lane->reader.forget(window);
    lane->writer.drop_unbegun([&](OutFrame& frame) {
      if (frame.window != &window) return false;
      gone.push_back({frame.window_offset, frame.payload_bytes});
      return true;
    });
    lane->writer.forget(window);
  }
  for (const PullRange& range : gone) {
    const Status sent = send_gone(window.request_id, range.offset, range.length_bytes);
    if (!sent.ok()) return fail(sent);
  }
}

Status TcpSession::send_gone(uint64_t request_id, uint64_t offset, uint64_t length_bytes,
                             uint16_t slot) {
  if (message_bytes_ > kSendQueueMaxBytes + kReplyReserveBytes) {
    return {StatusCode::invalid, "the peer pulls and does not read"};
  }
  FrameHeader header;
  header.kind = FrameKind::pull_gone;
  header.type = slot;
  header.request_id = request_id;
  header.offset = offset;
  header.length = length_bytes;
  queue_frame(header, {});
  return {};
}

// --- the responder's pushes ---

TcpSession::Incoming* TcpSession::begin_push(Push& push) {
  push.done.start();
  push.cut_bytes = 0;
  push.cut_crc = 0;
  push.stripes_busy = 0;
  push.outcome = Status();
  Status refused;
  const auto found = incoming_.find(push.request_id);
  if (closing_) {
    refused = Status(StatusCode::unavailable, "the session is closed");
  } else if (found == incoming_.end() || found->second->replied) {
    refused = Status(StatusCode::canceled, "the request was dropped");
  } else if (!push.bytes.empty()) {
    found->second->pushed_bytes += push.bytes.size();
    ++found->second->pushes;
    return found->second.get();
  }
  loop_.complete(push.done, std::move(refused));
  return nullptr;
}

void TcpSession::push(Push& push) {
  if (begin_push(push) == nullptr) return;
  (push.bytes.size() <= kSmallPushBytes ? small_pushes_ : large_pushes_).push_back(push);
  kick();
}

void TcpSession::finish_push(Push& push) {
  push.unlink();
  loop_.complete(push.done, push.outcome, push.outcome.ok() ? push.bytes.size() : 0);
  const auto found = incoming_.find(push.request_id);
  if (found == incoming_.end()) return;
  --found->second->pushes;
  forget_if_done(push.request_id);
}

// A request is remembered until it is answered and its memory is free.
void TcpSession::forget_if_done(uint64_t request_id) {
  const auto found = incoming_.find(request_id);
  if (found == incoming_.end()) return;
  const Incoming& request = *found->second;
  if (request.replied && request.pushes == 0 && request.pulls.empty()) incoming_.erase(found);
}

// Gives a lane the stripe that should leave next. False: there is none for it.
bool TcpSession::next_stripe(TcpLane& lane) {
  const bool takes_small = lane.index() == 0 || lanes_[0] == nullptr || lanes_[0]->blocked();
  if (takes_small && !small_pushes_.empty()) {
    add_push_stripe(lane, small_pushes_);
  } else if (!answers_.empty()) {
    add_answer(lane);
  } else if (!large_pushes_.empty()) {
    add_push_stripe(lane, large_pushes_);
  } else {
    return false;
  }
  return true;
}

void TcpSession::add_push_stripe(TcpLane& lane, List<Push>& from) {
  Push& push = *from.front();
  const Stripe stripe = cut_stripe(push);
  ++push.stripes_busy;
  if (fully_cut(push)) flying_pushes_.push_back(push);  // leaves `from`
  FrameHeader header;
  header.kind = FrameKind::stripe;
  header.request_id = push.request_id;
  header.offset = stripe.offset;
  header.payload_bytes = static_cast<uint32_t>(stripe.bytes.size());
  header.payload_crc = stripe.crc;
  OutFrame& frame = lane.writer.add();
  encode_frame_header(header, frame.header);
  frame.push = &push;
  frame.bytes = stripe.bytes;
  frame.payload_bytes = stripe.bytes.size();
  lane.writer.added(frame);
}

void TcpSession::add_answer(TcpLane& lane) {
  const Answer answer = answers_.front();
  answers_.pop_front();
  FrameHeader header;
  header.kind = FrameKind::pulled;
  header.request_id = answer.window->request_id;
  header.offset = answer.offset;
  header.payload_bytes = static_cast<uint32_t>(answer.length_bytes);
  header.payload_crc = crc_of(*answer.window, answer.offset, answer.length_bytes);
  OutFrame& frame = lane.writer.add();
  encode_frame_header(header, frame.header);
  frame.window = answer.window;
  frame.window_offset = answer.offset;
  frame.payload_bytes = answer.length_bytes;
  lane.writer.added(frame);
}

// --- the responder's pulls ---

void TcpSession::pull(Pull& pull) {
  pull.done.start();
  pull.asked_bytes = 0;
  pull.first_missing = 0;
  pull.arrived = 0;
  if (closing_) {
    return loop_.complete(pull.done, Status(StatusCode::unavailable, "the session is closed"));
  }
  const auto found = incoming_.find(pull.request_id);
  if (found == incoming_.end() || found->second->replied) {
    return loop_.complete(pull.done, Status(StatusCode::canceled, "the request was dropped"));
  }
  if (pull.into.empty()) return loop_.complete(pull.done, Status());
  Incoming& request = *found->second;
  if (request.has_eager && pull.offset <= request.eager.size() &&
      pull.into.size() <= request.eager.size() - pull.offset) {
    std::memcpy(pull.into.data(), request.eager.data() + pull.offset, pull.into.size());
    take_block_crcs(pull);
    return loop_.complete(pull.done, Status(), pull.into.size());
  }
  request.pulls.push_back(pull);
  ask(pull);
}

void TcpSession::ask(Pull& pull) {
  for (PullRange range = ask_next(pull); range.length_bytes > 0; range = ask_next(pull)) {
    FrameHeader header;
    header.kind = FrameKind::pull;
    header.request_id = pull.request_id;
    header.offset = range.offset;
    header.length = range.length_bytes;
    queue_frame(header, {});
  }
}

void TcpSession::finish_pull(Pull& pull, Status status) {
  pull.unlink();
  for (auto& lane : lanes_) {
    if (lane != nullptr) lane->reader.forget(pull);
  }
  const uint64_t moved = status.ok() ? pull.into.size() : 0;
  loop_.complete(pull.done, std::move(status), moved);
  forget_if_done(pull.request_id);
}

void TcpSession::drop_request(uint64_t request_id) {
  const auto found = incoming_.find(request_id);
  if (found == incoming_.end()) return;
  Incoming& request = *found->second;
  if (!request.replied) {
    request.replied = true;
    --unanswered_;
    eager_in_bytes_ -= request.eager.size();
    request.eager = {};
    request.has_eager = false;
  }
  for (auto& lane : lanes_) {
    if (lane == nullptr) continue;
    lane->writer.drop_unbegun([&](OutFrame& frame) {
      if (frame.push == nullptr || frame.push->request_id != request_id) return false;
      --frame.push->stripes_busy;
      return true;
    });
  }
  const Status canceled(StatusCode::canceled, "the request was dropped");
  List<Push> ended;
  for (List<Push>* list : {&small_pushes_, &large_pushes_, &flying_pushes_}) {
    for (Push* push = list->front(); push != nullptr;) {
      Push* next = list->next(*push);
      if (push->request_id == request_id) {
        push->outcome = canceled;
        // A stripe that is half out needs its memory until it is out.
        if (push->stripes_busy == 0) {
          ended.push_back(*push);
        } else if (list != &flying_pushes_) {
          flying_pushes_.push_back(*push);
        }
      }
      push = next;
    }
  }
  while (Push* push = ended.pop_front()) {
    --request.pushes;
    loop_.complete(push->done, canceled);
  }
  while (Pull* pull = request.pulls.pop_front()) {
    for (auto& lane : lanes_) {
      if (lane != nullptr) lane->reader.forget(*pull);
    }
    loop_.complete(pull->done, canceled);
  }
  forget_if_done(request_id);
}

}  // namespace gd2fs
