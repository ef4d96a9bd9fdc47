#include "fabric/tcp_session.h"

#include <algorithm>

#include "base/crc32c.h"
#include "base/log.h"
#include "fabric/stripes.h"

namespace gd2fs {

TcpSession::TcpSession(Loop& loop, const TcpOptions& options, Peer peer, uint64_t number,
                       uint32_t lanes, std::string session_key)
    : loop_(loop),
      options_(options),
      peer_(std::move(peer)),
      number_(number),
      session_key_(std::move(session_key)),
      lanes_(lanes) {
  closed_.bind<&TcpSession::on_closed>(this);
  flush_.bind<&TcpSession::on_flush>(this);
  tick_.bind<&TcpSession::on_tick>(this);
  if (lanes > 1 && options_.pumps != nullptr) {
    bulk_ = std::make_unique<BulkLanes>(loop_, options_.pumps, options_.pumps_from_bytes, lanes,
                                        [this] { on_bulk_word(); });
  }
}

TcpSession::~TcpSession() {
  if (sessions_ != nullptr) sessions_->by_number.erase(number_);
}

void TcpSession::enter(std::shared_ptr<TcpSessions> sessions) {
  sessions_ = std::move(sessions);
  sessions_->by_number.emplace(number_, this);
}

Status TcpSession::check_lane(uint16_t index) const {
  if (closing_) return {StatusCode::unavailable, "the session is closed"};
  if (index >= lanes_.size()) return {StatusCode::invalid, "no such lane"};
  if (lanes_[index] != nullptr || (bulk_ != nullptr && bulk_->has(index))) {
    return {StatusCode::exists, "the lane is there already"};
  }
  return {};
}

Status TcpSession::add_lane(uint16_t index, TcpSocket socket) {
  const bool same_host = socket.tune_same_host();
  if (bulk_ == nullptr || index == 0) {
    return add_lane(index, std::make_unique<SocketStream>(loop_, std::move(socket), same_host));
  }
  GD2FS_TRY(check_lane(index));
  bulk_->add(index, std::move(socket));
  if (!started_) return {};
  kick();  // bytes may wait for a lane
  return bulk_->start();
}

Status TcpSession::add_lane(uint16_t index, std::unique_ptr<LaneStream> stream) {
  GD2FS_TRY(check_lane(index));
  if (index == 0) first_at_once_ = stream->writes_cheaply();
  lanes_[index] = std::make_unique<TcpLane>(*this, index, std::move(stream));
  if (!started_) return {};
  kick();  // bytes may wait for a lane
  return lanes_[index]->start();
}

Status TcpSession::start() {
  started_ = true;
  loop_.start(tick_, options_.ping_after_ns / 2);
  for (auto& lane : lanes_) {
    if (lane != nullptr) GD2FS_TRY(lane->start());
  }
  if (bulk_ != nullptr) GD2FS_TRY(bulk_->start());
  kick();  // its owner may have spoken before
  return {};
}

void TcpSession::set_eager_max_bytes(uint32_t bytes) {
  eager_max_bytes_ = std::min<uint64_t>(bytes, kEagerTotalMaxBytes);
}

// --- messages ---

Status TcpSession::may_send(size_t body_bytes) const {
  if (closing_) return {StatusCode::unavailable, "the session is closed"};
  if (body_bytes > kFrameBodyMaxBytes) return {StatusCode::invalid, "the message is over 1 MiB"};
  if (message_bytes_ + body_bytes > kSendQueueMaxBytes) {
    return {StatusCode::busy, "the peer does not read its messages"};
  }
  return {};
}

Status TcpSession::send(uint16_t type, uint64_t request_id, ConstBytes body, Window* window) {
  GD2FS_TRY(may_send(body.size()));
  FrameHeader header;
  header.kind = FrameKind::message;
  header.type = type;
  header.request_id = request_id;
  std::vector<std::byte> eager;
  if (window != nullptr && window->direction == Window::Direction::source && request_id != 0) {
    const uint64_t length = window->straight == nullptr ? window->total_bytes : 0;
    if (length > 0 && length <= kEagerMaxBytes && eager_out_bytes_ + length <= eager_max_bytes_) {
      eager.resize(length);
      copy_out_of(*window, 0, eager);
      window->moved_bytes = length;
      eager_out_.emplace(request_id, length);
      eager_out_bytes_ += length;
    }
  }
  queue_frame(header, body, eager);
  return {};
}

Status TcpSession::reply(uint16_t type, uint64_t request_id, ConstBytes body) {
  if (closing_) return {StatusCode::unavailable, "the session is closed"};
  if (body.size() > kFrameBodyMaxBytes) return {StatusCode::invalid, "the reply is over 1 MiB"};
  Incoming* const request = incoming_.find(request_id);
  if (request == nullptr || request->replied) return {};
  if (message_bytes_ + body.size() > kSendQueueMaxBytes + kReplyReserveBytes) {
    return {StatusCode::busy, "the peer does not read its replies"};
  }
  FrameHeader header;
  header.kind = FrameKind::reply;
  header.type = type;
  header.request_id = request_id;
  header.offset = request->pushed_bytes;
  header.length = direct_bytes(request_id);
  request->replied = true;
  --unanswered_;
  eager_in_bytes_ -= request->eager.size();
  request->drop_eager();
  forget_if_done(request_id, *request);
  queue_frame(header, body);
  return {};
}

void TcpSession::queue_frame(FrameHeader& header, ConstBytes body, ConstBytes eager,
                             ConstBytes list) {
  TcpLane* const lane = lanes_[0].get();
  const bool at_once =
      lane != nullptr && messages_.empty() && lane->writer.frames() < kFramesAtOnce;
  OutFrame& frame = at_once ? lane->writer.add() : messages_.emplace_back();
  if (!list.empty()) frame.body.append(list.data(), list.size());
  frame.body.append(body.data(), body.size());
  if (!eager.empty()) frame.body.append(eager.data(), eager.size());
  header.body_bytes = static_cast<uint32_t>(list.size() + body.size());
  header.body_crc =
      header.body_bytes == 0 ? 0 : crc32c(ConstBytes(frame.body).first(header.body_bytes));
  header.payload_bytes = static_cast<uint32_t>(eager.size());
  header.payload_crc = eager.empty() ? 0 : crc32c(eager);
  encode_frame_header(header, frame.header);
  frame.message = true;
  message_bytes_ += frame.total_bytes();
  if (at_once) lane->writer.added(frame);
  const bool is_first = first_at_once_ && at_once && !flush_.pending();
  kick();
  if (is_first && flush_.pending()) send_first(*lane);
}

// What is first in this turn leaves at once where that costs little: the peer begins with it while
// the turn goes on.
void TcpSession::send_first(TcpLane& lane) {
  if (lane.blocked()) return;
  // A session is not ended in the middle of what its owner does: on_flush() ends it.
  flush_.status = lane.write([&](OutFrame& frame) { on_frame_sent(lane, frame); });
}

// A ping or pong, on the lane that it is about.
void TcpSession::queue_bare(TcpLane& lane, FrameKind kind) {
  FrameHeader header;
  header.kind = kind;
  OutFrame& frame = lane.writer.add();
  frame.pong = kind == FrameKind::pong;
  encode_frame_header(header, frame.header);
  lane.writer.added(frame);
  kick();
}

void TcpSession::release_eager(uint64_t request_id) {
  if (eager_out_.empty()) return;
  const auto found = eager_out_.find(request_id);
  if (found == eager_out_.end()) return;
  eager_out_bytes_ -= found->second;
  eager_out_.erase(found);
}

// --- sending ---

void TcpSession::kick() {
  if (flush_.pending() || !started_ || closing_ || about_to_flush_) return;
  loop_.complete(flush_, Status());
}

void TcpSession::on_flush(Completion& done) {
  if (closing_) return;
  if (!done.status.ok()) return fail(done.status);
  const uint64_t turn_bytes = bulk_ == nullptr ? kFlushTurnBytes : kFlushTurnBesidePumpsBytes;
  uint64_t written_bytes = 0;
  bool progress = true;
  while (progress && !closing_) {
    // Drives and other sessions have their turn too.
    if (written_bytes >= turn_bytes) return loop_.complete_after_fds(flush_, Status());
    progress = false;
    if (bulk_ != nullptr) feed_bulk_lanes();
    for (auto& lane : lanes_) {
      if (lane == nullptr || lane->blocked()) continue;
      progress |= flush_lane(*lane, &written_bytes);
      if (closing_) return;
    }
  }
}

// One write's worth for one lane. True if there may be more to write.
bool TcpSession::flush_lane(TcpLane& lane, uint64_t* written_bytes) {
  if (lane.index() == 0) {
    while (!messages_.empty() && lane.writer.frames() < kFramesAtOnce) {
      OutFrame& frame = lane.writer.add();
      frame = std::move(messages_.front());
      messages_.pop_front();
      lane.writer.added(frame);
    }
  }
  const bool has_bytes = bulk_ != nullptr || !small_pushes_.empty() || has_large();
  while (has_bytes && lane.writer.frames() < kFramesAtOnce &&
         lane.writer.queued_bytes() < kStripeDefaultBytes) {
    if (!next_stripe(lane)) break;
  }
  if (lane.writer.empty()) return false;
  const uint64_t before = lane.writer.queued_bytes();
  const Status status = lane.write([&](OutFrame& frame) { on_frame_sent(lane, frame); });
  if (!status.ok()) {
    fail(status);
    return false;
  }
  *written_bytes += before - lane.writer.queued_bytes();
  return bulk_ != nullptr || !messages_.empty() || !small_pushes_.empty() || has_large();
}

void TcpSession::on_frame_sent(TcpLane& lane, OutFrame& frame) {
  if (frame.pong) lane.pong_queued = false;
  if (frame.message) message_bytes_ -= frame.total_bytes();
  stripe_sent(frame.push, frame.window, frame.payload_bytes);
}

void TcpSession::stripe_sent(Push* push, Window* window, uint64_t length_bytes) {
  if (push != nullptr) {
    if (--push->stripes_busy == 0 && (fully_cut(*push) || !push->outcome.ok())) finish_push(*push);
  } else if (window != nullptr) {
    window->moved_bytes += length_bytes;
    --window->stripes_busy;
  }
}

// What the pumps have done since the last time.
void TcpSession::on_bulk_word() {
  BulkBoard& board = bulk_->board();
  for (BulkBoard::Sent sent; !closing_ && board.next(&sent);) {
    stripe_sent(sent.push, sent.window, sent.length_bytes);
  }
  size_t words = 0;
  for (BulkBoard::Arrived arrived; !closing_ && board.next(&arrived);) {
    const Status taken = take_arrived(arrived);
    if (!taken.ok()) return fail(taken);
    if (++words == kWordsPerTurn) {
      board.call_loop();
      break;
    }
  }
  if (closing_) return;
  const Status failure = board.failure();
  if (failure.ok()) return kick();
  // What the peer said last lies in the first lane.
  if (lanes_[0] != nullptr) lanes_[0]->read_last();
  fail(failure);
}

// --- liveness ---

void TcpSession::on_tick(Completion&) {
  const uint64_t tick_ns = options_.ping_after_ns / 2;
  for (auto& lane : lanes_) {
    if (lane == nullptr) continue;
    if (lane->take_heard()) {
      lane->silent_ticks = 0;
      continue;
    }
    // Counted in ticks of this loop, so that a process that was stopped itself blames nobody.
    const uint64_t silent_ns = ++lane->silent_ticks * tick_ns;
    if (silent_ns >= options_.dead_after_ns) {
      return fail(Status(StatusCode::unavailable, "the peer was silent for too long"));
    }
    if (lane->silent_ticks == 2) queue_bare(*lane, FrameKind::ping);
  }
  if (bulk_ != nullptr) {
    const Status alive = bulk_->tick(tick_ns, options_.dead_after_ns);
    if (!alive.ok()) return fail(alive);
  }
  loop_.start(tick_, tick_ns);
  on_second();
}

// --- the end ---

void TcpSession::fail(const Status& reason) {
  if (closing_) return;
  uint64_t skipped = 0;
  const bool violation = reason.is(StatusCode::invalid) || reason.is(StatusCode::corrupt) ||
                         reason.is(StatusCode::unsupported);
  if (violation && log_limit_.allow(loop_.now_ns(), &skipped)) {
    GD2FS_LOG_WARN("session with {} ended: {}", peer_.address, reason.to_string());
  }
  close(reason.with(peer_.address));
}

void TcpSession::close(Status reason) {
  if (closing_) return;
  closing_ = true;
  close_reason_ = std::move(reason);
  send_last_words();
  const Status lost(StatusCode::unavailable, close_reason_.text(), close_reason_.errno_value());
  for (auto& lane : lanes_) {
    if (lane != nullptr) lane->stop();
  }
  if (bulk_ != nullptr) bulk_->stop();
  loop_.cancel(tick_);
  messages_.clear();
  windows_.clear();
  held_.clear();
  answers_.clear();
  for (List<Push>* list : {&small_pushes_, &large_pushes_, &flying_pushes_}) {
    while (Push* push = list->pop_front()) loop_.complete(push->done, lost);
  }
  incoming_.for_each([&](uint64_t, Incoming& request) {
    while (Pull* pull = request.pulls.pop_front()) loop_.complete(pull->done, lost);
  });
  incoming_.clear();
  end_close();
}

// What can still leave at once does, so that a last reply is not lost without need.
void TcpSession::send_last_words() {
  TcpLane* lane = lanes_[0].get();
  if (lane == nullptr || !lane->open()) return;
  while (!messages_.empty() || !lane->writer.empty()) {
    if (!messages_.empty()) {
      OutFrame& frame = lane->writer.add();
      frame = std::move(messages_.front());
      messages_.pop_front();
      lane->writer.added(frame);
    }
    if (lane->blocked()) return;
    if (!lane->write([](OutFrame&) {}).ok()) return;
  }
}

void TcpSession::on_closed(Completion&) {
  CHECK(events_ != nullptr);
  const Status reason = std::move(close_reason_);  // the owner may destroy us in there
  events_->on_closed(*this, reason);
}

}  // namespace gd2fs
