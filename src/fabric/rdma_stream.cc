#include "fabric/rdma_stream.h"

#include <cerrno>

namespace gd2fs {

RdmaStream::RdmaStream(Loop& loop, TcpSocket socket, RdmaQueue& queue)
    : loop_(loop), socket_(std::move(socket)), queue_(queue) {
  watch_.bind<&RdmaStream::on_socket>(this);
}

Status RdmaStream::start(LaneEvents& events) {
  events_ = &events;
  queue_.look_again();  // the peer may have spoken already
  return loop_.watch(watch_, socket_.fd(), EPOLLIN);
}

void RdmaStream::stop() {
  loop_.unwatch(watch_);
  socket_.close();
}

LaneStream::Moved RdmaStream::read(std::span<iovec> parts) {
  Moved result;
  result.bytes = queue_.receive(parts);
  if (result.bytes > 0) return result;
  result.ended = peer_gone_;
  result.would_block = !peer_gone_;
  return result;
}

LaneStream::Moved RdmaStream::write(std::span<iovec> parts) {
  Moved result;
  while (!parts.empty()) {
    size_t taken = queue_.send(parts);
    if (taken == 0) break;
    result.bytes += taken;
    while (!parts.empty() && taken >= parts.front().iov_len) {
      taken -= parts.front().iov_len;
      parts = parts.subspan(1);
    }
    if (parts.empty()) break;
    parts.front().iov_base = static_cast<std::byte*>(parts.front().iov_base) + taken;
    parts.front().iov_len -= taken;
  }
  result.would_block = result.bytes == 0;
  return result;
}

void RdmaStream::on_ready() {
  if (events_ == nullptr) return;  // not yet
  if (waits_for_room_ && queue_.has_room()) {
    waits_for_room_ = false;
    events_->on_room();
  }
  if (socket_.open() && queue_.has_received()) events_->on_readable();
}

// Nobody speaks here after the handshake: what comes is the end.
void RdmaStream::on_socket(uint32_t) {
  std::byte byte{};
  iovec part{&byte, 1};
  if (socket_.read({&part, 1}).would_block) return;
  loop_.unwatch(watch_);
  // What the peer said before it went may still wait to be looked at.
  queue_.poll_port();
  while (socket_.open() && queue_.has_received()) events_->on_readable();
  peer_gone_ = true;
  if (socket_.open()) events_->on_readable();
}

}  // namespace gd2fs
