#include "cli/bench/raw_sockets.h"

#include <cerrno>
#include <cstdlib>
#include <deque>
#include <signal.h>
#include <thread>
#include <unistd.h>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/random.h"
#include "cli/bench/bench_client.h"
#include "cli/bench/samples.h"

namespace gd2fs {
namespace {

bool send_all(int fd, const std::byte* data, uint64_t length) {
  while (length > 0) {
    const ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
    if (sent <= 0) {
      if (sent < 0 && errno == EINTR) continue;
      return false;
    }
    data += sent;
    length -= static_cast<uint64_t>(sent);
  }
  return true;
}

bool receive_all(int fd, std::byte* data, uint64_t length) {
  while (length > 0) {
    const ssize_t got = recv(fd, data, length, 0);
    if (got <= 0) {
      if (got < 0 && errno == EINTR) continue;
      return false;
    }
    data += got;
    length -= static_cast<uint64_t>(got);
  }
  return true;
}

// The sender's side of one lane: each 8-byte request names a length, answered with that many bytes.
void serve_lane(int fd, ConstBytes data) {
  uint64_t length = 0;
  while (receive_all(fd, reinterpret_cast<std::byte*>(&length), sizeof length)) {
    if (!send_all(fd, data.data(), length)) return;
  }
}

[[noreturn]] void run_sender(int listener, uint32_t lanes, uint64_t buffer_bytes) {
  BenchBuffer data(buffer_bytes);
  Random random(Random::seed_from_kernel());
  random.fill(data.bytes());
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < lanes; ++i) {
    const int fd = accept(listener, nullptr, nullptr);
    if (fd < 0) _exit(1);
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    threads.emplace_back([fd, &data] { serve_lane(fd, data.bytes()); });
  }
  for (std::thread& thread : threads) thread.join();
  _exit(0);
}

Status last_error(const char* what) {
  return Status::from_errno(errno, what);
}

}  // namespace

Result<RawSockets> RawSockets::start(uint32_t lanes, uint64_t buffer_bytes) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0) return fail(last_error("socket"));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (bind(listener, generic, length) != 0 || listen(listener, 64) != 0 ||
      getsockname(listener, generic, &length) != 0) {
    const Status status = last_error("listen");
    close(listener);
    return fail(status);
  }
  RawSockets sockets;
  sockets.child_ = fork();
  if (sockets.child_ < 0) {
    const Status status = last_error("fork");
    close(listener);
    return fail(status);
  }
  if (sockets.child_ == 0) run_sender(listener, lanes, buffer_bytes);
  close(listener);
  for (uint32_t i = 0; i < lanes; ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, generic, length) != 0) return fail(last_error("connect"));
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    sockets.lanes_.push_back(fd);
  }
  return sockets;
}

RawSockets::RawSockets(RawSockets&& other) noexcept
    : lanes_(std::move(other.lanes_)), child_(std::exchange(other.child_, -1)) {
  other.lanes_.clear();
}

RawSockets::~RawSockets() {
  for (int fd : lanes_) close(fd);
  if (child_ > 0) {
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }
}

Result<double> RawSockets::transfer(Bytes into) {
  const double began = seconds_now();
  std::vector<std::thread> threads;
  std::vector<char> ok(lanes_.size(), 0);
  const uint64_t share = into.size() / lanes_.size();
  for (size_t i = 0; i < lanes_.size(); ++i) {
    const uint64_t length = i + 1 == lanes_.size() ? into.size() - i * share : share;
    threads.emplace_back([this, i, length, share, into, &ok] {
      const bool asked =
          send_all(lanes_[i], reinterpret_cast<const std::byte*>(&length), sizeof length);
      ok[i] = asked && receive_all(lanes_[i], into.data() + i * share, length) ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (char lane_ok : ok) {
    if (lane_ok == 0) return fail(StatusCode::unavailable, "the raw socket baseline broke off");
  }
  return seconds_now() - began;
}

Result<std::vector<double>> RawSockets::round_trips(uint32_t reply_bytes, uint32_t depth,
                                                    uint32_t count) {
  std::vector<double> times;
  std::deque<double> sent_at;
  std::vector<std::byte> reply(reply_bytes);
  const uint64_t length = reply_bytes;
  uint32_t sent = 0;
  while (times.size() < count) {
    while (sent < count && sent_at.size() < depth) {
      sent_at.push_back(seconds_now());
      if (!send_all(lanes_[0], reinterpret_cast<const std::byte*>(&length), sizeof length)) {
        return fail(last_error("send"));
      }
      ++sent;
    }
    if (!receive_all(lanes_[0], reply.data(), reply_bytes)) return fail(last_error("recv"));
    times.push_back((seconds_now() - sent_at.front()) * 1e6);
    sent_at.pop_front();
  }
  return times;
}

}  // namespace gd2fs
