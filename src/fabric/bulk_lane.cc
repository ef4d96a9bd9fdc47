#include "fabric/bulk_lane.h"

#include <sys/socket.h>

namespace gd2fs {

// Inside the gate, also when a CHECK fails there.
class BulkLane::Inside {
 public:
  explicit Inside(LaneGate& gate) : gate_(gate), entered_(gate.enter()) {}
  ~Inside() {
    if (entered_) gate_.leave();
  }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  explicit operator bool() const { return entered_; }

 private:
  LaneGate& gate_;
  const bool entered_;
};

BulkLane::BulkLane(std::shared_ptr<BulkBoard> board, uint16_t index, TcpSocket socket)
    : reader(*this, kReadAheadBytes),
      board_(std::move(board)),
      index_(index),
      socket_(std::move(socket)) {
  watch_.bind<&BulkLane::on_events>(this);
  kick_.bind<&BulkLane::on_kick>(this);
}

// --- the session's loop ---

void BulkLane::start(LanePump& pump) {
  pump_ = &pump;
  pump.loop.post([this] { begin(); });
}

void BulkLane::kick() {
  pump_->loop.post(kick_);
}

// All that was posted for it runs before what puts it away.
void BulkLane::rest(std::unique_ptr<BulkLane> lane) {
  lane->gate.hold();
  lane->gate.close();
  ::shutdown(lane->fd(), SHUT_RDWR);
  if (!lane->started()) return;
  Loop& loop = lane->pump_->loop;
  loop.post([lane = std::move(lane)] { lane->pump_->loop.unwatch(lane->watch_); });
}

// --- the pump ---

void BulkLane::begin() {
  const Status watched = pump_->loop.watch(watch_, socket_.fd(), EPOLLIN);
  if (!watched.ok()) return fail(watched);
  send();
}

void BulkLane::on_events(uint32_t events) {
  if ((events & EPOLLOUT) != 0) {
    blocked_ = false;
    heard_.store(true, std::memory_order_relaxed);
    send();
  }
  if (watch_.watched() && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) receive();
}

void BulkLane::fail(const Status& status) {
  if (const Inside inside(gate); inside) board_->fail(status);
  pump_->loop.unwatch(watch_);
}

void BulkLane::receive() {
  After after = After::more;
  for (size_t turn_bytes = 0; after == After::more && turn_bytes < kReadTurnBytes;) {
    after = receive_once(&turn_bytes);
  }
  if (after == After::ended) return pump_->loop.unwatch(watch_);
  if (pong_queued_) send();
}

BulkLane::After BulkLane::receive_once(size_t* moved_bytes) {
  const Inside inside(gate);
  if (!inside) return After::ended;
  const TcpSocket::Moved moved = socket_.read(reader.targets());
  if (moved.would_block) return After::wait;
  Status status;
  if (moved.error != 0) {
    status = Status::from_errno(moved.error, "receive");
  } else if (moved.ended) {
    status = Status(StatusCode::unavailable, "the peer ended the connection");
  } else {
    heard_.store(true, std::memory_order_relaxed);
    *moved_bytes += moved.bytes;
    const bool emptied = moved.bytes < reader.asked_bytes();
    status = reader.received(moved.bytes);
    if (status.ok()) return emptied ? After::wait : After::more;
  }
  board_->fail(status);
  return After::ended;
}

void BulkLane::send() {
  if (blocked_ || !watch_.watched()) return;
  After after = After::more;
  size_t turn_bytes = 0;
  while (after == After::more && turn_bytes < kSendTurnBytes) after = send_once(&turn_bytes);
  if (after == After::ended) return pump_->loop.unwatch(watch_);
  // Also after a turn with more to send: the others first. (Not by a look at the writer: outside of
  // the gate it may be somebody else's.)
  blocked_ = after != After::wait;
  pump_->loop.rewatch(watch_, blocked_ ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

BulkLane::After BulkLane::send_once(size_t* moved_bytes) {
  const Inside inside(gate);
  if (!inside) return After::ended;
  if (ping_wanted_.exchange(false, std::memory_order_relaxed)) queue_bare(FrameKind::ping);
  OutStripe stripe;
  while (writer.frames() < kFramesAtOnce && writer.queued_bytes() < kStripeDefaultBytes) {
    if (writer.empty() ? !board_->take_or_idle(index_, &stripe) : !board_->take(&stripe)) break;
    writer.add(stripe);
  }
  if (writer.empty()) return After::wait;
  const TcpSocket::Moved moved = socket_.write(writer.parts());
  if (moved.error != 0) {
    board_->fail(Status::from_errno(moved.error, "send"));
    return After::ended;
  }
  *moved_bytes += moved.bytes;
  writer.sent(moved.bytes, [this](const OutFrame& frame) {
    if (frame.pong) pong_queued_ = false;
    board_->sent(frame);
  });
  return writer.empty() ? After::more : After::blocked;
}

void BulkLane::queue_bare(FrameKind kind) {
  FrameHeader header;
  header.kind = kind;
  OutFrame& frame = writer.add();
  frame.pong = kind == FrameKind::pong;
  encode_frame_header(header, frame.header);
  writer.added(frame);
}

Result<Landing> BulkLane::on_header(const FrameHeader& header) {
  return board_->land(index_, header);
}

Status BulkLane::on_frame(InFrame& frame) {
  if (frame.header.kind == FrameKind::ping) {
    if (!std::exchange(pong_queued_, true)) queue_bare(FrameKind::pong);
  } else if (frame.header.kind != FrameKind::pong) {
    board_->landed(index_, frame);
  }
  return {};
}

}  // namespace gd2fs
