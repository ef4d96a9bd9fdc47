#include "fabric/rdma_stream.h"

#include <cerrno>

namespace gd2fs {

SocketLifeline::SocketLifeline(Loop& loop, TcpSocket socket)
    : loop_(loop), socket_(std::move(socket)) {
  watch_.bind<&SocketLifeline::on_socket>(this);
}

Status SocketLifeline::start(Owner& owner) {
  owner_ = &owner;
  return loop_.watch(watch_, socket_.fd(), EPOLLIN);
}

// Nobody speaks here after the handshake: what comes is the end.
void SocketLifeline::on_socket(uint32_t) {
  std::byte byte{};
  iovec part{&byte, 1};
  if (socket_.read({&part, 1}).would_block) return;
  loop_.unwatch(watch_);
  owner_->on_peer_gone();
}

Status RdmaStream::start(LaneEvents& events) {
  events_ = &events;
  queue_.look_again();  // the peer may have spoken already
  return lifeline_->start(*this);
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
  if (open() && queue_.has_received()) events_->on_readable();
}

void RdmaStream::on_peer_gone() {
  // What the peer said before it went may still wait to be looked at.
  queue_.poll_port();
  while (open() && queue_.has_received()) events_->on_readable();
  peer_gone_ = true;
  if (open()) events_->on_readable();
}

}  // namespace gd2fs
