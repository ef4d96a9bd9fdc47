// LaneStream: the bytes under one lane of a session: a TCP socket, or two rings in shared memory.
// One loop.
#pragma once

#include "fabric/sender_core.h"
#include "fabric/tcp_socket.h"
#include "loop/loop.h"

namespace gd2fs {

class LaneEvents {
 public:
  virtual void on_readable() = 0;  // or ended, or broken: read() tells
  virtual void on_room() = 0;      // after wait_for_room()

 protected:
  ~LaneEvents() = default;
};

class LaneStream {
 public:
  using Moved = TcpSocket::Moved;
  virtual ~LaneStream() = default;  // stops
  virtual Status start(LaneEvents& events) = 0;
  // From here on nothing is told and nothing touches any memory.
  virtual void stop() = 0;
  virtual bool open() const = 0;
  virtual Moved read(std::span<iovec> parts) = 0;
  virtual Moved write(std::span<iovec> parts) = 0;
  virtual void wait_for_room() = 0;
  // A write costs no system call while the peer is awake, so the first frame of a turn need not
  // wait for the others.
  virtual bool writes_cheaply() const { return false; }
};

class SocketStream final : public LaneStream {
 public:
  SocketStream(Loop& loop, TcpSocket socket, bool same_host)
      : loop_(loop), socket_(std::move(socket)), same_host_(same_host) {
    watch_.bind<&SocketStream::on_events>(this);
  }
  ~SocketStream() override { stop(); }
  Status start(LaneEvents& events) override {
    events_ = &events;
    return loop_.watch(watch_, socket_.fd(), EPOLLIN);
  }
  void stop() override {
    loop_.unwatch(watch_);
    socket_.close();
  }
  bool open() const override { return socket_.open(); }
  Moved read(std::span<iovec> parts) override {
    if (!same_host_) return socket_.read(parts);
    size_t asked_bytes = 0;
    for (const iovec& part : parts) asked_bytes += part.iov_len;
    if (asked_bytes >= SenderCore::kManyBytes) {
      sender_core_.before_read(socket_.fd(), loop_.now_ns());
    }
    const Moved moved = socket_.read(parts);
    if (sender_core_.after_read(asked_bytes, moved.bytes)) {
      loop_.stay_awake_until(loop_.now_ns() + SenderCore::kMoreComesNs);
    }
    return moved;
  }
  Moved write(std::span<iovec> parts) override { return socket_.write(parts); }
  void wait_for_room() override { loop_.rewatch(watch_, EPOLLIN | EPOLLOUT); }

 private:
  void on_events(uint32_t events) {
    if ((events & EPOLLOUT) != 0) {
      loop_.rewatch(watch_, EPOLLIN);
      events_->on_room();
      if (!socket_.open()) return;
    }
    if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) events_->on_readable();
  }

  Loop& loop_;
  TcpSocket socket_;
  const bool same_host_;
  SenderCore sender_core_;
  Watch watch_;
  LaneEvents* events_ = nullptr;
};

}  // namespace gd2fs
