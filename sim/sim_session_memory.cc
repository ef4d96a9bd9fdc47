// The windows, pushes and pulls of a simulated session.
#include "base/crc32c.h"
#include "fabric/stripes.h"
#include "sim/sim_session.h"

namespace gd2fs {

// --- the requester's memory ---

void SimSession::expose(Window& window) {
  CHECK(window.request_id != 0 && !windows_.contains(window.request_id));
  window.total_bytes = window.length_bytes();
  window.moved_bytes = 0;
  window.hint_segment = 0;
  window.hint_offset = 0;
  if (!closing_) windows_.emplace(window.request_id, &window);
}

void SimSession::withdraw(Window& window, Completion& done) {
  const auto found = windows_.find(window.request_id);
  if (found != windows_.end() && found->second == &window) {
    windows_.erase(found);
    held_.erase(window.request_id);
    if (network_.faults.write_late_bytes) {
      late_.emplace(window.request_id, std::vector(window.segments.begin(), window.segments.end()));
    }
    std::erase_if(outgoing_, [&](const Outgoing& out) {
      if (out.window != &window) return false;
      SimFrame gone;
      gone.kind = FrameKind::pull_gone;
      gone.request_id = window.request_id;
      gone.offset = out.offset;
      gone.length = out.length;
      send_frame(0, std::move(gone));
      return true;
    });
  }
  if (const auto eager = eager_out_.find(window.request_id); eager != eager_out_.end()) {
    eager_out_bytes_ -= eager->second;
    eager_out_.erase(eager);
  }
  loop_.complete(done, Status());
}

void SimSession::handle_stripe(SimFrame& frame) {
  if (crc32c(frame.payload) != frame.crc) {
    close(Status(StatusCode::corrupt, peer_.address + ": stripe crc"));
    return;
  }
  const auto found = windows_.find(frame.request_id);
  if (found == windows_.end()) {
    ++network_.late_stripes_;
    if (const auto late = late_.find(frame.request_id); late != late_.end()) {
      Window ghost;
      ghost.segments.assign(late->second.data(), late->second.size());
      ghost.total_bytes = ghost.length_bytes();
      copy_into(ghost, frame.offset, frame.payload);
    }
    return;
  }
  Window& window = *found->second;
  if (window.direction != Window::Direction::sink ||
      !inside(window, frame.offset, frame.payload.size())) {
    close(Status(StatusCode::invalid, "the peer pushed outside of the window"));
    return;
  }
  copy_into(window, frame.offset, frame.payload);
  window.moved_bytes += frame.payload.size();
  const auto held = held_.find(frame.request_id);
  if (held == held_.end() || window.moved_bytes < held->second.pushed_bytes) return;
  if (window.moved_bytes > held->second.pushed_bytes) {
    close(Status(StatusCode::invalid, "the peer's reply does not match its pushes"));
    return;
  }
  const HeldReply reply = std::move(held->second);
  held_.erase(held);
  deliver_reply(frame.request_id, reply);
}

void SimSession::handle_pull(SimFrame& frame) {
  const auto found = windows_.find(frame.request_id);
  if (found == windows_.end()) {
    SimFrame gone;
    gone.kind = FrameKind::pull_gone;
    gone.request_id = frame.request_id;
    gone.offset = frame.offset;
    gone.length = frame.length;
    send_frame(0, std::move(gone));
    return;
  }
  Window& window = *found->second;
  if (window.direction != Window::Direction::source ||
      !inside(window, frame.offset, frame.length)) {
    close(Status(StatusCode::invalid, "the peer pulled outside of the window"));
    return;
  }
  outgoing_.push_back({nullptr, &window, frame.offset, frame.length});
  kick_send();
}

// --- the responder's transfers ---

void SimSession::push(Push& push) {
  push.done.start();
  push.cut_bytes = 0;
  push.cut_crc = 0;
  push.stripes_busy = 0;
  push.outcome = Status();
  if (closing_) {
    loop_.complete(push.done, Status(StatusCode::unavailable, "the session is closed"));
    return;
  }
  const auto found = incoming_.find(push.request_id);
  if (found == incoming_.end()) {
    loop_.complete(push.done, Status(StatusCode::canceled, "the request was dropped"));
    return;
  }
  if (push.bytes.empty()) {
    loop_.complete(push.done, Status());
    return;
  }
  found->second.pushed_bytes += push.bytes.size();
  pushes_.push_back(push);
  for (uint64_t at = 0; at < push.bytes.size(); at += kStripeDefaultBytes) {
    outgoing_.push_back({&push, nullptr, 0, 0});
    ++push.stripes_busy;
  }
  kick_send();
}

void SimSession::finish_push(Push& push) {
  push.unlink();
  loop_.complete(push.done, push.outcome, push.bytes.size());
}

void SimSession::pull(Pull& pull) {
  pull.done.start();
  pull.asked_bytes = 0;
  pull.first_missing = 0;
  pull.arrived = 0;
  if (closing_) {
    loop_.complete(pull.done, Status(StatusCode::unavailable, "the session is closed"));
    return;
  }
  const auto found = incoming_.find(pull.request_id);
  if (found == incoming_.end()) {
    loop_.complete(pull.done, Status(StatusCode::canceled, "the request was dropped"));
    return;
  }
  if (pull.into.empty()) {
    loop_.complete(pull.done, Status());
    return;
  }
  const std::vector<std::byte>& eager = found->second.eager;
  if (found->second.has_eager && pull.offset <= eager.size() &&
      pull.into.size() <= eager.size() - pull.offset) {
    std::memcpy(pull.into.data(), eager.data() + pull.offset, pull.into.size());
    take_block_crcs(pull);
    loop_.complete(pull.done, Status(), pull.into.size());
    return;
  }
  pulls_.push_back(pull);
  ask(pull);
}

void SimSession::ask(Pull& pull) {
  for (PullRange range = ask_next(pull); range.length_bytes > 0; range = ask_next(pull)) {
    SimFrame frame;
    frame.kind = FrameKind::pull;
    frame.request_id = pull.request_id;
    frame.offset = range.offset;
    frame.length = range.length_bytes;
    send_frame(0, std::move(frame));
  }
}

void SimSession::finish_pull(Pull& pull, Status status) {
  pull.unlink();
  const uint64_t moved = status.ok() ? pull.into.size() : 0;
  if (status.ok()) take_block_crcs(pull);
  loop_.complete(pull.done, std::move(status), moved);
}

void SimSession::handle_pulled(SimFrame& frame) {
  for (Pull* pull = pulls_.front(); pull != nullptr; pull = pulls_.next(*pull)) {
    if (pull->request_id != frame.request_id) continue;
    const Bytes place = place_of(*pull, frame.offset, frame.payload.size());
    if (place.empty()) continue;
    std::memcpy(place.data(), frame.payload.data(), place.size());
    if (crc32c(place) != frame.crc) {
      finish_pull(*pull, Status(StatusCode::corrupt, "the bytes changed while they were sent"));
      return;
    }
    mark_arrived(*pull, frame.offset);
    if (fully_arrived(*pull)) {
      finish_pull(*pull, Status());
    } else {
      ask(*pull);
    }
    return;
  }
}

void SimSession::handle_pull_gone(SimFrame& frame) {
  for (Pull* pull = pulls_.front(); pull != nullptr; pull = pulls_.next(*pull)) {
    if (pull->request_id != frame.request_id) continue;
    if (place_of(*pull, frame.offset, frame.length).empty()) continue;
    finish_pull(*pull, Status(StatusCode::canceled, "the peer withdrew its memory"));
    return;
  }
}

void SimSession::drop_request(uint64_t request_id) {
  const auto found = incoming_.find(request_id);
  if (found == incoming_.end()) return;
  eager_in_bytes_ -= found->second.eager.size();
  incoming_.erase(found);
  std::erase_if(outgoing_, [&](const Outgoing& out) {
    return out.push != nullptr && out.push->request_id == request_id;
  });
  const Status canceled(StatusCode::canceled, "the request was dropped");
  for (Push* push = pushes_.front(); push != nullptr;) {
    Push* next = pushes_.next(*push);
    if (push->request_id == request_id) {
      push->outcome = canceled;
      finish_push(*push);
    }
    push = next;
  }
  for (Pull* pull = pulls_.front(); pull != nullptr;) {
    Pull* next = pulls_.next(*pull);
    if (pull->request_id == request_id) finish_pull(*pull, canceled);
    pull = next;
  }
}

// --- sending memory: read when the network takes it, not when it was queued ---

void SimSession::kick_send() {
  if (outgoing_.empty() || send_ready_.pending() || send_delay_.running()) return;
  if (network_.random_.chance(1, 4)) {
    loop_.start(send_delay_, network_.random_.below(100 * kUs));
  } else {
    loop_.complete(send_ready_, Status());
  }
}

void SimSession::on_send_delay(Completion& done) {
  on_send_ready(done);
}

void SimSession::on_send_ready(Completion&) {
  uint64_t stripes = 1 + network_.random_.below(8);
  for (; stripes > 0 && !outgoing_.empty() && !closing_; --stripes) {
    const Outgoing out = outgoing_.front();
    outgoing_.pop_front();
    send_stripe(out);
  }
  if (!closing_) kick_send();
}

void SimSession::send_stripe(const Outgoing& out) {
  SimFrame frame;
  if (out.push != nullptr) {
    const Stripe stripe = cut_stripe(*out.push);
    frame.kind = FrameKind::stripe;
    frame.request_id = out.push->request_id;
    frame.offset = stripe.offset;
    frame.crc = stripe.crc;
    frame.payload.assign(stripe.bytes.begin(), stripe.bytes.end());
    if (--out.push->stripes_busy == 0) finish_push(*out.push);
  } else {
    frame.kind = FrameKind::pulled;
    frame.request_id = out.window->request_id;
    frame.offset = out.offset;
    frame.payload.resize(out.length);
    copy_out_of(*out.window, out.offset, frame.payload);
    frame.crc = crc32c(frame.payload);
    out.window->moved_bytes += out.length;
  }
  send_frame(any_lane(), std::move(frame));
}

}  // namespace gd2fs
