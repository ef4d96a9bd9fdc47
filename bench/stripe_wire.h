// The bench's own tiny protocol: an Ask (16 bytes) names a range of the server's memory; the answer
// is the same 16 bytes and then the range. Shared by the blocking peers and the peers on a loop, so
// that both move the same bytes.
#pragma once

#include <cstdint>
#include <string_view>
#include <unistd.h>
#include <utility>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/check.h"

namespace gd2fs::bench {

struct Ask {
  uint64_t offset;
  uint32_t length_bytes;
  uint32_t tag;
};
static_assert(sizeof(Ask) == 16);

inline constexpr uint32_t kSmallReadBytes = 4096;
inline constexpr uint32_t kStripeBytes = 512 * kKiB;
inline constexpr uint64_t kBulkBytes = 256 * kMiB;
inline constexpr uint32_t kWindowMax = 64;  // asks in flight per lane

// An open file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

inline sockaddr_in loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

inline void set_no_delay(int fd) {
  const int one = 1;
  CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
}

// `congestion`: the name of a congestion control of the kernel, empty for its default.
inline Fd listen_on_loopback(uint16_t* port, std::string_view congestion) {
  const int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(made >= 0);
  Fd fd(made);
  sockaddr_in address = loopback(0);
  CHECK(bind(made, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  // Accepted connections inherit it.
  CHECK(congestion.empty() || setsockopt(fd.get(), IPPROTO_TCP, TCP_CONGESTION, congestion.data(),
                                         congestion.size()) == 0);
  CHECK(listen(fd.get(), 64) == 0);
  socklen_t size = sizeof address;
  CHECK(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  *port = ntohs(address.sin_port);
  return fd;
}

inline Fd connect_to(uint16_t port) {
  const int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(made >= 0);
  Fd fd(made);
  sockaddr_in address = loopback(port);
  CHECK(connect(made, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  set_no_delay(fd.get());
  return fd;
}

}  // namespace gd2fs::bench
