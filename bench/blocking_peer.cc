#include "bench/blocking_peer.h"

#include <algorithm>
#include <cerrno>
#include <thread>

#include <sys/uio.h>

namespace gd2fs::bench {

void send_all(int fd, const void* data, size_t length_bytes) {
  const auto* from = static_cast<const std::byte*>(data);
  while (length_bytes > 0) {
    const ssize_t sent = send(fd, from, length_bytes, MSG_NOSIGNAL);
    CHECK(sent > 0);
    from += sent;
    length_bytes -= static_cast<size_t>(sent);
  }
}

void receive_all(int fd, void* data, size_t length_bytes) {
  CHECK(recv(fd, data, length_bytes, MSG_WAITALL) == static_cast<ssize_t>(length_bytes));
}

namespace {
void serve_lane(const Fd& fd, ConstBytes memory) {
  set_no_delay(fd.get());
  for (;;) {
    Ask ask{};
    if (recv(fd.get(), &ask, sizeof ask, MSG_WAITALL) != sizeof ask) return;
    CHECK(ask.offset + ask.length_bytes <= memory.size());
    iovec parts[2] = {{&ask, sizeof ask},
                      {const_cast<std::byte*>(memory.data()) + ask.offset, ask.length_bytes}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    const ssize_t sent = sendmsg(fd.get(), &message, MSG_NOSIGNAL);
    if (sent < static_cast<ssize_t>(sizeof ask)) return;
    const size_t sent_bytes = static_cast<size_t>(sent) - sizeof ask;
    send_all(fd.get(), memory.data() + ask.offset + sent_bytes, ask.length_bytes - sent_bytes);
  }
}
}  // namespace

void serve_blocking(const Fd& listener, ConstBytes memory) {
  for (;;) {
    const int accepted = accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC);
    CHECK(accepted >= 0);
    std::thread([fd = Fd(accepted), memory] { serve_lane(fd, memory); }).detach();
  }
}

void read_blocking(int fd, uint64_t offset, Bytes into) {
  Ask ask{offset, static_cast<uint32_t>(into.size()), 0};
  send_all(fd, &ask, sizeof ask);
  receive_all(fd, &ask, sizeof ask);
  CHECK(ask.offset == offset && ask.length_bytes == into.size());
  receive_all(fd, into.data(), into.size());
}

void read_stripes_blocking(int fd, Bytes into, uint32_t lane, uint32_t lanes, uint32_t window) {
  const uint64_t step = static_cast<uint64_t>(kStripeBytes) * lanes;
  uint64_t asked = static_cast<uint64_t>(kStripeBytes) * lane;
  uint32_t outstanding = 0;
  for (uint64_t at = asked; at < into.size(); at += step) {
    if (outstanding <= window / 2) {  // fill the window in one send, as the loop does
      Ask asks[kWindowMax];
      size_t count = 0;
      for (; outstanding < window && asked < into.size(); asked += step, ++outstanding) {
        asks[count++] = {asked, kStripeBytes, 1};
      }
      send_all(fd, asks, count * sizeof(Ask));
    }
    Ask answer{};
    receive_all(fd, &answer, sizeof answer);
    CHECK(answer.offset == at);
    receive_all(fd, into.data() + answer.offset, answer.length_bytes);
    --outstanding;
  }
}

}  // namespace gd2fs::bench
