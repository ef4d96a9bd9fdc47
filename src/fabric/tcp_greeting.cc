#include "fabric/tcp_greeting.h"

#include "base/crc32c.h"

namespace gd2fs {

TcpGreeting::TcpGreeting(Loop& loop, TcpSocket socket) : loop_(loop), socket_(std::move(socket)) {
  watch_.bind<&TcpGreeting::on_events>(this);
}

TcpGreeting::~TcpGreeting() {
  loop_.unwatch(watch_);
}

TcpSocket TcpGreeting::take() {
  loop_.unwatch(watch_);
  return std::move(socket_);
}

Status TcpGreeting::say(FrameKind kind, msg::Type type, ConstBytes body,
                        std::span<const int> descriptors) {
  FrameHeader header;
  header.version = kProtocolVersionMin;  // before anything is agreed
  header.kind = kind;
  header.type = static_cast<uint16_t>(type);
  header.body_bytes = static_cast<uint32_t>(body.size());
  header.body_crc = body.empty() ? 0 : crc32c(body);
  std::vector<std::byte> frame(sizeof header + body.size());
  encode_frame_header(header, frame.data());
  if (!body.empty()) std::memcpy(frame.data() + sizeof header, body.data(), body.size());
  iovec part{frame.data(), frame.size()};
  const TcpSocket::Moved moved =
      descriptors.empty() ? socket_.write({&part, 1}) : socket_.write({&part, 1}, descriptors);
  if (moved.error != 0) return Status::from_errno(moved.error, "handshake");
  // A fresh socket has room for far more.
  if (moved.bytes != frame.size()) return {StatusCode::unavailable, "handshake: no room to send"};
  return {};
}

void TcpGreeting::hear(Completion& done) {
  CHECK(waiting_ == nullptr);
  done.start();
  header_done_ = 0;
  body_done_ = 0;
  body_.clear();
  waiting_ = &done;
  if (!aborted_.ok()) return end(aborted_);
  const Status status = watch_.watched() ? Status() : loop_.watch(watch_, socket_.fd(), EPOLLIN);
  if (!status.ok()) end(status);
}

void TcpGreeting::wait_connected(Completion& done) {
  CHECK(waiting_ == nullptr);
  done.start();
  waiting_ = &done;
  connecting_ = true;
  const Status status = loop_.watch(watch_, socket_.fd(), EPOLLOUT);
  if (!status.ok()) end(status);
}

void TcpGreeting::abort(const Status& reason) {
  aborted_ = reason;
  if (waiting_ != nullptr) end(reason);
}

void TcpGreeting::end(Status status) {
  loop_.unwatch(watch_);  // nobody listens until the next hear()
  connecting_ = false;
  loop_.complete(*std::exchange(waiting_, nullptr), std::move(status));
}

void TcpGreeting::on_events(uint32_t) {
  if (waiting_ == nullptr) return;
  if (connecting_) return end(socket_.connect_result());
  bool whole = false;
  Status status = read_more(&whole);
  if (whole || !status.ok()) end(std::move(status));
}

// Reads no byte past the frame.
Status TcpGreeting::read_more(bool* whole) {
  for (;;) {
    const bool in_header = header_done_ < sizeof header_bytes_;
    iovec part = in_header
                     ? iovec{header_bytes_ + header_done_, sizeof header_bytes_ - header_done_}
                     : iovec{body_.data() + body_done_, body_.size() - body_done_};
    const TcpSocket::Moved moved =
        descriptors_ == nullptr ? socket_.read({&part, 1}) : socket_.read({&part, 1}, descriptors_);
    if (moved.would_block) return {};
    if (moved.error != 0) return Status::from_errno(moved.error, "handshake");
    if (moved.ended) return {StatusCode::unavailable, "handshake: the peer ended the connection"};
    (in_header ? header_done_ : body_done_) += moved.bytes;
    // Whoever speaks something else is told at once, not at the deadline.
    if (in_header && header_done_ >= sizeof kFrameMagic &&
        load_le<uint32_t>(header_bytes_) != kFrameMagic) {
      return {StatusCode::invalid, "handshake: wrong magic: this is not a GD2FS peer"};
    }
    if (in_header && header_done_ == sizeof header_bytes_) {
      GD2FS_ASSIGN(header_, decode_frame_header(header_bytes_));
      if (header_.payload_bytes != 0 || header_.body_bytes > kHandshakeBodyMaxBytes ||
          header_.body_bytes == 0 ||
          (header_.kind != FrameKind::message && header_.kind != FrameKind::reply)) {
        return {StatusCode::invalid, "handshake: not a frame of a handshake"};
      }
      body_.resize(header_.body_bytes);
    }
    if (header_done_ < sizeof header_bytes_ || body_done_ < body_.size()) continue;
    if (crc32c(body_) != header_.body_crc) return {StatusCode::corrupt, "handshake: body crc"};
    *whole = true;
    return {};
  }
}

Status check_greeting_reply(const TcpGreeting& greeting, msg::Type expected) {
  if (greeting.kind() != FrameKind::reply) {
    return {StatusCode::invalid, "handshake: not a reply"};
  }
  if (greeting.type() == msg::Type::error) return open_error(greeting.body());
  if (greeting.type() != expected) return {StatusCode::invalid, "handshake: another step's reply"};
  return {};
}

}  // namespace gd2fs
