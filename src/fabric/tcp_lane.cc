#include "fabric/tcp_lane.h"

#include "fabric/tcp_session.h"

namespace gd2fs {

namespace {
// Lanes other than the first carry stripes only; a thousand sessions have thousands of them.
constexpr size_t kOtherLanesReadAheadBytes = 2 * 1024;
}  // namespace

TcpLane::TcpLane(Loop& loop, TcpSession& session, uint16_t index, TcpSocket socket)
    : reader(*this, index == 0 ? FrameReader::kReadAheadBytes : kOtherLanesReadAheadBytes),
      loop_(loop),
      session_(session),
      index_(index),
      socket_(std::move(socket)) {
  watch_.bind<&TcpLane::on_events>(this);
}

TcpLane::~TcpLane() {
  stop();
}

Status TcpLane::start() {
  return loop_.watch(watch_, socket_.fd(), EPOLLIN);
}

void TcpLane::stop() {
  loop_.unwatch(watch_);
  socket_.close();
  writer.clear();
}

void TcpLane::wait_for_room() {
  if (blocked_) return;
  blocked_ = true;
  loop_.rewatch(watch_, EPOLLIN | EPOLLOUT);
}

void TcpLane::on_events(uint32_t events) {
  if ((events & EPOLLOUT) != 0 && blocked_) {
    blocked_ = false;
    heard_ = true;
    loop_.rewatch(watch_, EPOLLIN);
    session_.on_room();
  }
  if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) read();
}

void TcpLane::read() {
  size_t turn_bytes = 0;
  while (turn_bytes < kReadTurnBytes) {
    const TcpSocket::Moved moved = socket_.read(reader.targets());
    if (moved.would_block) return;
    if (moved.error != 0) return session_.fail(Status::from_errno(moved.error, "receive"));
    if (moved.ended) {
      return session_.fail(Status(StatusCode::unavailable, "the peer ended the connection"));
    }
    heard_ = true;
    turn_bytes += moved.bytes;
    const bool emptied = moved.bytes < reader.asked_bytes();
    const Status status = reader.received(moved.bytes);
    if (!socket_.open()) return;  // the session was closed by what was received
    if (!status.ok()) return session_.fail(status);
    if (emptied) return;
  }
}

Result<Landing> TcpLane::on_header(const FrameHeader& header) {
  return session_.on_header(*this, header);
}

Status TcpLane::on_frame(InFrame& frame) {
  return session_.on_frame(*this, frame);
}

}  // namespace gd2fs
