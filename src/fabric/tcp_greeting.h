// TcpGreeting: a connection before it belongs to a session: small frames back and forth until both
// sides have proved themselves. What a stranger can make us hold is this object and its one body.
// One loop.
#pragma once

#include "fabric/fabric.h"
#include "fabric/tcp_socket.h"
#include "wire/auth.h"
#include "wire/message.h"

namespace gd2fs {

class TcpGreeting {
 public:
  TcpGreeting(Loop& loop, TcpSocket socket);
  ~TcpGreeting();
  TcpGreeting(const TcpGreeting&) = delete;
  TcpGreeting& operator=(const TcpGreeting&) = delete;

  // On a unix socket descriptors may go with it.
  Status say(FrameKind kind, msg::Type type, ConstBytes body,
             std::span<const int> descriptors = {});
  // Waits for the next frame; one at a time. Then kind(), type() and body() are its.
  void hear(Completion& done);
  // Waits until a connect that has begun is decided.
  void wait_connected(Completion& done);
  // Ends what is waited for, from a timer for example.
  void abort(const Status& reason);

  FrameKind kind() const { return header_.kind; }
  msg::Type type() const { return static_cast<msg::Type>(header_.type); }
  ConstBytes body() const { return body_; }
  const TcpSocket& socket() const { return socket_; }
  // On a unix socket, from now on: what comes with the frames is kept.
  void take_descriptors(std::vector<Descriptor>* into) { descriptors_ = into; }
  // The connection goes on to its session; nothing was read past the last frame.
  TcpSocket take();

 private:
  void on_events(uint32_t events);
  Status read_more(bool* whole);
  void end(Status status);

  Loop& loop_;
  TcpSocket socket_;
  Watch watch_;
  Completion* waiting_ = nullptr;
  bool connecting_ = false;
  FrameHeader header_;
  std::byte header_bytes_[sizeof(FrameHeader)];
  size_t header_done_ = 0;
  std::vector<std::byte> body_;
  size_t body_done_ = 0;
  Status aborted_;
  std::vector<Descriptor>* descriptors_ = nullptr;
};

// The reply of a handshake step: its body, or what the peer refused it with.
Status check_greeting_reply(const TcpGreeting& greeting, msg::Type expected);

}  // namespace gd2fs
