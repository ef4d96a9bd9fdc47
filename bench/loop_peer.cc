#include "bench/loop_peer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

namespace gd2fs::bench {

namespace {

// A server's side of one connection.
class ServerLane {
 public:
  ServerLane(Loop& loop, Fd fd, ConstBytes memory)
      : loop_(loop), fd_(std::move(fd)), memory_(memory) {
    set_no_delay(fd_.get());
    watch_.bind<&ServerLane::on_events>(this);
    CHECK(loop_.watch(watch_, fd_.get(), EPOLLIN).ok());
  }
  bool closed() const { return !watch_.watched(); }

 private:
  void on_events(uint32_t events) {
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) receive_asks();
    if (!closed()) send_answers();
  }
  void receive_asks() {
    const ssize_t got =
        recv(fd_.get(), input_ + input_bytes_, sizeof input_ - input_bytes_, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return loop_.unwatch(watch_);
    input_bytes_ += static_cast<size_t>(got);
    size_t used = 0;
    for (; input_bytes_ - used >= sizeof(Ask); used += sizeof(Ask)) {
      asks_.push_back(load_le<Ask>(input_ + used));
      CHECK(asks_.back().offset + asks_.back().length_bytes <= memory_.size());
    }
    std::memmove(input_, input_ + used, input_bytes_ - used);
    input_bytes_ -= used;
  }
  void send_answers() {
    while (!asks_.empty()) {
      Ask& ask = asks_.front();
      iovec parts[2];
      msghdr message{};
      message.msg_iov = parts;
      const size_t head_sent = std::min(sent_bytes_, sizeof ask);
      const size_t payload_sent = sent_bytes_ - head_sent;
      if (head_sent < sizeof ask) {
        parts[message.msg_iovlen++] = {reinterpret_cast<std::byte*>(&ask) + head_sent,
                                       sizeof ask - head_sent};
      }
      parts[message.msg_iovlen++] = {
          const_cast<std::byte*>(memory_.data()) + ask.offset + payload_sent,
          ask.length_bytes - payload_sent};
      const ssize_t sent = sendmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent < 0 && errno == EAGAIN) return loop_.rewatch(watch_, EPOLLIN | EPOLLOUT);
      if (sent < 0) return loop_.unwatch(watch_);
      sent_bytes_ += static_cast<size_t>(sent);
      if (sent_bytes_ < sizeof ask + ask.length_bytes) continue;
      sent_bytes_ = 0;
      asks_.pop_front();
    }
    loop_.rewatch(watch_, EPOLLIN);
  }

  Loop& loop_;
  Fd fd_;
  ConstBytes memory_;
  Watch watch_;
  std::byte input_[64 * sizeof(Ask)];
  size_t input_bytes_ = 0;
  std::deque<Ask> asks_;
  size_t sent_bytes_ = 0;  // of the front answer, head included
};

// One loop of the server, on a thread of its own.
struct ServerLoop {
  ServerLoop(Clock& clock, ConstBytes what) : loop(clock, Loop::Waits::epoll), memory(what) {}
  void take(Fd fd) {
    std::erase_if(lanes, [](auto& lane) { return lane->closed(); });
    lanes.push_back(std::make_unique<ServerLane>(loop, std::move(fd), memory));
  }
  Loop loop;
  ConstBytes memory;
  std::vector<std::unique_ptr<ServerLane>> lanes;
};

// Connections go to the loops in turn.
struct Listener {
  Fd fd;
  std::vector<std::unique_ptr<ServerLoop>>& loops;
  Watch watch;
  size_t accepted = 0;
  void on_events(uint32_t) {
    const int lane = accept4(fd.get(), nullptr, nullptr, SOCK_CLOEXEC);
    CHECK(lane >= 0);
    ServerLoop& to = *loops[accepted++ % loops.size()];
    to.loop.post([&to, taken = Fd(lane)]() mutable { to.take(std::move(taken)); });
  }
};

}  // namespace

void serve_on_loops(Fd fd, ConstBytes memory, uint32_t loop_count, uint64_t spin_ns) {
  RealClock clock;
  std::vector<std::unique_ptr<ServerLoop>> loops;
  loops.reserve(loop_count);
  for (uint32_t i = 0; i < loop_count; ++i) {
    loops.push_back(std::make_unique<ServerLoop>(clock, memory));
  }
  for (uint32_t i = 1; i < loop_count; ++i) {
    std::thread([&, i] { loops[i]->loop.run(spin_ns); }).detach();
  }
  Listener listener{std::move(fd), loops, {}};
  listener.watch.bind<&Listener::on_events>(&listener);
  Loop& first = loops[0]->loop;
  CHECK(first.watch(listener.watch, listener.fd.get(), EPOLLIN).ok());
  for (;;) first.run(spin_ns);
}

ClientLane::ClientLane(Loop& loop, Fd fd, Bytes destination,
                       std::function<void(const Ask&)> on_answer)
    : loop_(loop), fd_(std::move(fd)), destination_(destination), on_answer_(std::move(on_answer)) {
  watch_.bind<&ClientLane::on_events>(this);
  CHECK(loop_.watch(watch_, fd_.get(), EPOLLIN).ok());
}

ClientLane::~ClientLane() {
  loop_.unwatch(watch_);
}

void ClientLane::ask(std::span<const Ask> asks) {
  const ConstBytes bytes = std::as_bytes(asks);
  unsent_.insert(unsent_.end(), bytes.begin(), bytes.end());
  send_asks();
}

void ClientLane::send_asks() {
  const ssize_t sent = send(fd_.get(), unsent_.data(), unsent_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  CHECK(sent >= 0 || errno == EAGAIN);
  if (sent > 0) unsent_.erase(unsent_.begin(), unsent_.begin() + sent);
  loop_.rewatch(watch_, unsent_.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT);
}

void ClientLane::on_events(uint32_t events) {
  if ((events & EPOLLOUT) != 0) send_asks();
  // Level-triggered: one call an event is enough, and a big one takes all that has come.
  const ssize_t got = receive_some();
  CHECK(got > 0 || (got < 0 && errno == EAGAIN));
}

ssize_t ClientLane::receive_some() {
  iovec parts[2];
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  const bool between = head_bytes_ < sizeof head_;
  if (between) {
    parts[0] = {reinterpret_cast<std::byte*>(&head_) + head_bytes_, sizeof head_ - head_bytes_};
    parts[1] = {first_bytes_, sizeof first_bytes_};
  } else {
    parts[0] = {destination_.data() + head_.offset + payload_bytes_,
                head_.length_bytes - payload_bytes_};
    message.msg_iovlen = 1;
  }
  const ssize_t got = recvmsg(fd_.get(), &message, MSG_DONTWAIT);
  if (got <= 0) return got;
  size_t left = static_cast<size_t>(got);
  if (!between) {
    payload_bytes_ += left;
    if (payload_bytes_ == head_.length_bytes) end_answer();
    return got;
  }
  const size_t head = std::min(left, sizeof head_ - head_bytes_);
  head_bytes_ += head;
  left -= head;
  const std::byte* from = first_bytes_;
  while (head_bytes_ == sizeof head_) {
    CHECK(head_.offset + head_.length_bytes <= destination_.size());
    const size_t part = std::min<size_t>(left, head_.length_bytes - payload_bytes_);
    std::memcpy(destination_.data() + head_.offset + payload_bytes_, from, part);
    payload_bytes_ += part;
    from += part;
    left -= part;
    if (payload_bytes_ < head_.length_bytes) break;
    end_answer();
    head_bytes_ = std::min(left, sizeof head_);
    std::memcpy(&head_, from, head_bytes_);
    from += head_bytes_;
    left -= head_bytes_;
  }
  return got;
}

void ClientLane::end_answer() {
  const Ask answer = head_;
  head_bytes_ = 0;
  payload_bytes_ = 0;
  on_answer_(answer);
}

}  // namespace gd2fs::bench
