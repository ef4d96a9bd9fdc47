// For tests: a peer that says what it likes over a plain socket.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/crc32c.h"
#include "fabric/tcp_socket.h"
#include "wire/auth.h"
#include "wire/message.h"

namespace gd2fs {

class RawPeer {
 public:
  // `turn` runs the other side a little.
  RawPeer(const std::string& address, std::function<void()> turn) : turn_(std::move(turn)) {
    const auto parsed = parse_tcp_address(address);
    socket_ =
        std::move(*TcpSocket::connect(resolve(*parsed, Resolve::numeric_only)->front(), nullptr));
    for (int i = 0; i < 5; ++i) turn_();
  }

  static FrameHeader header_of(FrameKind kind, msg::Type type, ConstBytes body,
                               uint64_t request_id = 0) {
    FrameHeader header;
    header.kind = kind;
    header.type = static_cast<uint16_t>(type);
    header.request_id = request_id;
    header.body_bytes = static_cast<uint32_t>(body.size());
    header.body_crc = body.empty() ? 0 : crc32c(body);
    return header;
  }
  // False: the other side has closed.
  bool send(ConstBytes bytes) {
    while (!bytes.empty()) {
      iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
      const auto moved = socket_.write({&part, 1});
      if (moved.error != 0) return false;
      bytes = bytes.subspan(moved.bytes);
      turn_();
    }
    return true;
  }
  bool send(const FrameHeader& header, ConstBytes body = {}, ConstBytes payload = {}) {
    std::vector<std::byte> frame(64);
    encode_frame_header(header, frame.data());
    frame.insert(frame.end(), body.begin(), body.end());
    frame.insert(frame.end(), payload.begin(), payload.end());
    return send(frame);
  }
  bool say(FrameKind kind, msg::Type type, ConstBytes body, uint64_t request_id = 0) {
    return send(header_of(kind, type, body, request_id), body);
  }

  struct Frame {
    FrameHeader header;
    std::vector<std::byte> body;
  };
  // The next frame (its payload is thrown away); nullopt: the other side has closed.
  std::optional<Frame> hear() {
    Frame frame;
    std::byte bytes[64];
    if (!read(bytes)) return std::nullopt;
    const auto header = decode_frame_header(bytes);
    if (!header.has_value()) return std::nullopt;
    frame.header = *header;
    frame.body.resize(header->body_bytes);
    std::vector<std::byte> payload(header->payload_bytes);
    if (!read(frame.body) || !read(payload)) return std::nullopt;
    return frame;
  }
  // Reads on until the other side closes; false if it does not.
  bool closed_by_peer() {
    for (int i = 0; i < 3000; ++i) {
      std::byte junk[4096];
      iovec part{junk, sizeof junk};
      const auto moved = socket_.read({&part, 1});
      if (moved.ended || moved.error != 0) return true;
      turn_();
    }
    return false;
  }
  void close() { socket_.close(); }
  const TcpSocket& socket() const { return socket_; }

  // The whole handshake, honestly. Empty: refused.
  std::optional<msg::WelcomeT> greet(ClientHandshake& handshake) {
    if (!say(FrameKind::message, msg::Type::hello, handshake.hello_body())) return std::nullopt;
    const auto challenge = hear();
    if (!challenge || challenge->header.type != static_cast<uint16_t>(msg::Type::challenge)) {
      return std::nullopt;
    }
    const auto proof = handshake.on_challenge(challenge->body);
    if (!proof.has_value()) return std::nullopt;
    say(FrameKind::message, msg::Type::proof, *proof);
    const auto welcome = hear();
    if (!welcome || welcome->header.type != static_cast<uint16_t>(msg::Type::welcome)) {
      return std::nullopt;
    }
    msg::WelcomeT out;
    open_body<msg::Welcome>(welcome->body)->UnPackTo(&out);
    return out;
  }

 private:
  bool read(Bytes into) {
    int idle = 0;
    while (!into.empty()) {
      iovec part{into.data(), into.size()};
      const auto moved = socket_.read({&part, 1});
      if (moved.ended || moved.error != 0) return false;
      into = into.subspan(moved.bytes);
      if (moved.bytes == 0 && ++idle > 3000) return false;
      if (!into.empty()) turn_();
    }
    return true;
  }

  std::function<void()> turn_;
  TcpSocket socket_;
};

}  // namespace gd2fs
