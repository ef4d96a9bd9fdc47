// The memory that a TcpSession moves: windows, pushes, pulls.
#include <algorithm>

#include "fabric/stripes.h"
#include "fabric/tcp_session.h"

namespace gd2fs {

// --- the requester's windows ---

void TcpSession::expose(Window& window) {
  CHECK(window.request_id != 0);
  window.total_bytes = window.length_bytes();
  window.device = std::ranges::any_of(
      window.segments, [](const MemorySegment& segment) { return segment.target != 0; });
  window.shown = false;
  window.moved_bytes = 0;
  window.hint_segment = 0;
  window.hint_offset = 0;
  window.stripes_busy = 0;
  if (closing_) return;
  CHECK(windows_.insert(window.request_id, &window));
  if (bulk_ != nullptr) bulk_->board().expose(window);
}

void TcpSession::withdraw(Window& window, Completion& done) {
  done.start();
  loop_.complete(done, Status());
  forget_window(window);
}

bool TcpSession::let_go(Window& window) {
  forget_window(window);
  return true;
}

void TcpSession::forget_window(Window& window) {
  release_eager(window.request_id);
  if (window_of(window.request_id) != &window) return;
  windows_.erase(window.request_id);
  if (!held_.empty()) held_.erase(window.request_id);
  for (auto& lane : lanes_) {
    if (lane != nullptr) lane->reader.forget(window);
  }
  if (window.direction == Window::Direction::source || bulk_ != nullptr) forget_unsent(window);
}

// The peer is told of what it has asked for and will not get.
void TcpSession::forget_unsent(Window& window) {
  std::vector<PullRange> gone;
  if (window.direction == Window::Direction::source) forget_answers(window, &gone);
  if (bulk_ != nullptr) bulk_->forget(window, &gone);
  for (const PullRange& range : gone) {
    const Status sent = send_gone(window.request_id, range.offset, range.length_bytes);
    if (!sent.ok()) return fail(sent);
  }
}

// What the peer has pulled of it and a lane has not begun to send is not sent.
void TcpSession::forget_answers(Window& window, std::vector<PullRange>* gone) {
  std::erase_if(answers_, [&](const Answer& answer) {
    if (answer.window != &window) return false;
    gone->push_back({answer.offset, answer.length_bytes});
    return true;
  });
  for (auto& lane : lanes_) {
    if (lane == nullptr) continue;
    lane->writer.drop_unbegun([&](OutFrame& frame) {
      if (frame.window != &window) return false;
      gone->push_back({frame.window_offset, frame.payload_bytes});
      --window.stripes_busy;
      return true;
    });
    window.stripes_busy -= lane->writer.forget(window);
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
  Incoming* const request = incoming_.find(push.request_id);
  if (closing_) {
    refused = Status(StatusCode::unavailable, "the session is closed");
  } else if (request == nullptr || request->replied) {
    refused = Status(StatusCode::canceled, "the request was dropped");
  } else if (!push.bytes.empty()) {
    request->pushed_bytes += push.bytes.size();
    ++request->pushes;
    return request;
  }
  loop_.complete(push.done, std::move(refused));
  return nullptr;
}

void TcpSession::push(Push& push) {
  CHECK(push.has_crc);
  if (begin_push(push) == nullptr) return;
  (push.bytes.size() <= kSmallPushBytes ? small_pushes_ : large_pushes_).push_back(push);
  kick();
}

void TcpSession::finish_push(Push& push) {
  push.unlink();
  loop_.complete(push.done, push.outcome, push.outcome.ok() ? push.bytes.size() : 0);
  Incoming* const request = incoming_.find(push.request_id);
  if (request == nullptr) return;
  --request->pushes;
  forget_if_done(push.request_id, *request);
}

// A request is remembered until it is answered and its memory is free.
void TcpSession::forget_if_done(uint64_t request_id, Incoming& request) {
  if (request.replied && request.pushes == 0 && request.pulls.empty()) {
    incoming_.erase(request_id);
  }
}

// Gives a lane the stripe that should leave next. False: there is none for it.
bool TcpSession::next_stripe(TcpLane& lane) {
  const bool takes_small = lane.index() == 0 || lanes_[0] == nullptr || lanes_[0]->blocked();
  if (takes_small && !small_pushes_.empty()) {
    lane.writer.add(take_push_stripe(small_pushes_));
    return true;
  }
  if (bulk_ == nullptr && !has_large()) return false;
  OutStripe stripe;
  if (bulk_ != nullptr ? !bulk_->board().take(&stripe) : !next_large(&stripe)) return false;
  lane.writer.add(stripe);
  return true;
}

bool TcpSession::next_large(OutStripe* stripe) {
  if (!answers_.empty()) {
    *stripe = take_answer();
  } else if (!large_pushes_.empty()) {
    *stripe = take_push_stripe(large_pushes_);
  } else {
    return false;
  }
  return true;
}

// All lanes take the large stripes off the board, the first one too.
void TcpSession::feed_bulk_lanes() {
  if (bulk_ == nullptr) return;
  OutStripe stripe;
  while (bulk_->wants_stripes() && next_large(&stripe)) bulk_->board().queue(stripe);
  bulk_->wake();
}

OutStripe TcpSession::take_push_stripe(List<Push>& from) {
  Push& push = *from.front();
  const Stripe stripe = cut_stripe(push);
  ++push.stripes_busy;
  if (fully_cut(push)) flying_pushes_.push_back(push);  // leaves `from`
  OutStripe out;
  out.header.kind = FrameKind::stripe;
  out.header.request_id = push.request_id;
  out.header.offset = stripe.offset;
  out.header.payload_bytes = static_cast<uint32_t>(stripe.bytes.size());
  out.header.payload_crc = stripe.crc;
  out.push = &push;
  out.bytes = stripe.bytes;
  return out;
}

OutStripe TcpSession::take_answer() {
  const Answer answer = answers_.front();
  answers_.pop_front();
  ++answer.window->stripes_busy;
  OutStripe out;
  out.header.kind = FrameKind::pulled;
  out.header.request_id = answer.window->request_id;
  out.header.offset = answer.offset;
  out.header.payload_bytes = static_cast<uint32_t>(answer.length_bytes);
  out.window = answer.window;
  return out;
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
  Incoming* const found = incoming_.find(pull.request_id);
  if (found == nullptr || found->replied) {
    return loop_.complete(pull.done, Status(StatusCode::canceled, "the request was dropped"));
  }
  if (pull.into.empty()) return loop_.complete(pull.done, Status());
  Incoming& request = *found;
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
    if (bulk_ != nullptr) bulk_->board().expect(pull, range);
    queue_frame(header, {});
  }
}

// When it returns no lane touches the pull's memory any more.
void TcpSession::forget(Pull& pull) {
  for (auto& lane : lanes_) {
    if (lane != nullptr) lane->reader.forget(pull);
  }
  if (bulk_ != nullptr && !fully_arrived(pull)) bulk_->forget(pull);
}

void TcpSession::finish_pull(Pull& pull, Status status) {
  pull.unlink();
  forget(pull);
  const uint64_t moved = status.ok() ? pull.into.size() : 0;
  loop_.complete(pull.done, std::move(status), moved);
  Incoming* const request = incoming_.find(pull.request_id);
  if (request != nullptr) forget_if_done(pull.request_id, *request);
}

void TcpSession::drop_request(uint64_t request_id) {
  Incoming* const found = incoming_.find(request_id);
  if (found == nullptr) return;
  Incoming& request = *found;
  if (!request.replied) {
    request.replied = true;
    --unanswered_;
    eager_in_bytes_ -= request.eager.size();
    request.drop_eager();
  }
  for (auto& lane : lanes_) {
    if (lane == nullptr) continue;
    lane->writer.drop_unbegun([&](OutFrame& frame) {
      if (frame.push == nullptr || frame.push->request_id != request_id) return false;
      --frame.push->stripes_busy;
      return true;
    });
  }
  // What a bulk lane has taken it also sends.
  if (bulk_ != nullptr) {
    bulk_->board().drop_queued([&](const OutStripe& stripe) {
      if (stripe.push == nullptr || stripe.push->request_id != request_id) return false;
      --stripe.push->stripes_busy;
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
    forget(*pull);
    loop_.complete(pull->done, canceled);
  }
  forget_if_done(request_id, request);
}

}  // namespace gd2fs
