// TcpSocket: owns one non-blocking stream socket: TCP, or a unix one between processes of one host.
#pragma once

#include <span>
#include <utility>
#include <vector>

#include <sys/uio.h>

#include "base/descriptor.h"
#include "fabric/tcp_address.h"

namespace gd2fs {

class TcpSocket {
 public:
  TcpSocket() = default;
  explicit TcpSocket(int fd) : fd_(fd) {}
  TcpSocket(TcpSocket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  TcpSocket& operator=(TcpSocket&& other) noexcept {
    if (this != &other) {
      close();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~TcpSocket() { close(); }

  int fd() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  void close();

  // A listening socket; port 0 picks one.
  static Result<TcpSocket> listen(const SocketAddress& address);
  // A connect that has begun: writable when it ended, then connect_result().
  static Result<TcpSocket> connect(const SocketAddress& to, const SocketAddress* from);
  Status connect_result() const;
  // The same for a unix socket at a path (at most 107 bytes). connect_local has succeeded when it
  // returns. listen_local replaces what lies at the path.
  static Result<TcpSocket> listen_local(const std::string& path);
  static Result<TcpSocket> connect_local(const std::string& path);
  // Not open(): nobody waits to be accepted. busy: out of descriptors or memory.
  Result<TcpSocket> accept() const;

  // What every TCP connection gets: no delay, so that a small frame leaves at once.
  Status set_up() const;
  // For a connected socket. A connection inside one host needs no congestion control: pacing it
  // costs a third of the throughput (docs/decisions/003-lent-loop.md), and bytes that queue beyond
  // the cache are copied from memory twice. What the kernel refuses stays as it is. True: it is
  // one.
  bool tune_same_host() const;

  struct Moved {
    size_t bytes = 0;
    bool would_block = false;
    int error = 0;
    bool ended = false;
  };
  Moved read(std::span<iovec> parts) const;
  Moved write(std::span<iovec> parts) const;
  // Unix sockets: with descriptors, at most kDescriptorsMax of them. What else comes along is
  // closed.
  static constexpr size_t kDescriptorsMax = 4;
  Moved read(std::span<iovec> parts, std::vector<Descriptor>* descriptors) const;
  Moved write(std::span<iovec> parts, std::span<const int> descriptors) const;

 private:
  int fd_ = -1;
};

}  // namespace gd2fs
