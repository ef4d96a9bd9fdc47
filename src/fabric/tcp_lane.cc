#include "fabric/tcp_lane.h"

#include "fabric/tcp_session.h"

namespace gd2fs {

namespace {
// Lanes other than the first carry stripes only; a thousand sessions have thousands of them.
constexpr size_t kOtherLanesReadAheadBytes = 2 * 1024;
}  // namespace

TcpLane::TcpLane(TcpSession& session, uint16_t index, std::unique_ptr<LaneStream> stream)
    : reader(*this, index == 0 ? FrameReader::kReadAheadBytes : kOtherLanesReadAheadBytes),
      session_(session),
      index_(index),
      stream_(std::move(stream)) {}

TcpLane::~TcpLane() {
  stop();
}

Status TcpLane::start() {
  return stream_->start(*this);
}

void TcpLane::stop() {
  stream_->stop();
  writer.clear();
}

void TcpLane::wait_for_room() {
  if (blocked_) return;
  blocked_ = true;
  stream_->wait_for_room();
}

void TcpLane::on_room() {
  if (!blocked_) return;
  blocked_ = false;
  heard_ = true;
  session_.on_room();
}

void TcpLane::on_readable() {
  read(kReadTurnBytes);
}

void TcpLane::read(size_t bytes_max) {
  size_t turn_bytes = 0;
  while (turn_bytes < bytes_max) {
    const LaneStream::Moved moved = stream_->read(reader.targets());
    if (moved.would_block) return;
    if (moved.error != 0) return session_.fail(Status::from_errno(moved.error, "receive"));
    if (moved.ended) {
      return session_.fail(Status(StatusCode::unavailable, "the peer ended the connection"));
    }
    heard_ = true;
    turn_bytes += moved.bytes;
    const bool emptied = moved.bytes < reader.asked_bytes();
    const Status status = reader.received(moved.bytes);
    if (!stream_->open()) return;  // the session was closed by what was received
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
