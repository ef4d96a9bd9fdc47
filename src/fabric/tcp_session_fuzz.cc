// A real session over a pair of sockets, and a peer that has proved itself and says frames of any
// kind, in any order and cut anywhere, while our side asks, answers, pushes, pulls and gives up.
// What our side lends is freed the moment it is its own again, so the sanitizer sees a late byte;
// when the session has closed, nothing may be pending.
#include <cstdlib>
#include <list>

#include <sys/socket.h>

#include "base/crc32c.h"
#include "base/fuzz_seeds.h"
#include "base/log.h"
#include "fabric/tcp_session.h"
#include "sim/sim_clock.h"

namespace gd2fs {
namespace {

constexpr size_t kStepsMax = 300;
constexpr size_t kMemoryMaxBytes = 1 << 20;
constexpr size_t kOpenMax = 64;  // windows, pushes and pulls at once

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  bool empty() const { return size_ == 0; }
  uint8_t byte() {
    if (size_ == 0) return 0;
    --size_;
    return *data_++;
  }
  // Small ones, powers of two, their neighbours, and the largest.
  uint64_t number() {
    const uint8_t pick = byte();
    if (pick < 64) return pick;
    if (pick < 128) return uint64_t{1} << (pick - 64);
    if (pick < 192) return (uint64_t{1} << (pick - 128)) - 1;
    if (pick < 224) return UINT64_MAX - (pick - 192);
    return uint64_t{byte()} << 8 | byte();
  }
  size_t length(size_t most) { return std::min<uint64_t>(number(), most); }

 private:
  const uint8_t* data_;
  size_t size_;
};

struct Lent {  // memory of ours, for one window
  Window window;
  std::vector<std::byte> memory;
  Completion withdrawn;
  void on_withdrawn(Completion&) {}
};
template <class Move>
struct Moving {  // a push or a pull, and its memory
  Move move;
  std::vector<std::byte> memory;
  std::vector<uint32_t> crcs;
  void on_done(Completion&) {}
};

class Meeting final : public SessionEvents {
 public:
  Meeting() {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
    peer_ = TcpSocket(ends[0]);
    TcpOptions options;
    options.lanes_min = 1;
    session_ = std::make_unique<TcpSession>(loop_, options, Peer(), 1, 1, "key");
    session_->set_events(this);
    if (!session_->add_lane(0, TcpSocket(ends[1])).ok() || !session_->start().ok()) std::abort();
  }
  ~Meeting() override {
    session_->close(Status(StatusCode::canceled));
    turn();
    if (!closed_) std::abort();
    for (const auto& push : pushes_) {
      if (push.move.done.pending()) std::abort();
    }
    for (const auto& pull : pulls_) {
      if (pull.move.done.pending()) std::abort();
    }
  }

  void step(Input& input) {
    switch (input.byte() % 12) {
      case 0:
      case 1:
      case 2:
      case 3:
        return say_frame(input);
      case 4:
        return ask(input);
      case 5:
        return withdraw(input.byte());
      case 6:
        return push(input);
      case 7:
        return pull(input);
      case 8: {
        const std::vector<std::byte> body(input.length(kFrameBodyMaxBytes + 1), std::byte{7});
        [[maybe_unused]] const Status said = session_->reply(input.byte(), input.byte(), body);
        return turn();
      }
      case 9:
        session_->drop_request(input.byte());
        return turn();
      case 10:
        clock_.advance_ns(uint64_t{input.byte()} * 100 * kMs);
        return turn();
      default:
        return say_bytes(input);
    }
  }

  void on_message(Session&, const Message& message) override {
    if (message.body.size() > kFrameBodyMaxBytes) std::abort();
  }
  void on_reply(Session&, const Message& reply) override {
    if (reply.body.size() > kFrameBodyMaxBytes) std::abort();
  }
  void on_closed(Session&, const Status&) override { closed_ = true; }

 private:
  void turn() {
    while (loop_.turn(0) > 0) {
    }
    std::erase_if(pushes_, [](const auto& push) { return !push.move.done.pending(); });
    std::erase_if(pulls_, [](const auto& pull) { return !pull.move.done.pending(); });
  }
  void listen() {  // whatever our side says is thrown away
    std::byte junk[65536];
    iovec part{junk, sizeof junk};
    while (peer_.read({&part, 1}).bytes > 0) turn();
  }
  void say(ConstBytes bytes, size_t piece) {
    while (!bytes.empty() && !closed_) {
      const ConstBytes now = bytes.first(std::min(piece, bytes.size()));
      iovec part{const_cast<std::byte*>(now.data()), now.size()};
      const auto moved = peer_.write({&part, 1});
      if (moved.error != 0) break;
      bytes = bytes.subspan(moved.bytes);
      turn();
      listen();
    }
  }
  void say_bytes(Input& input) {
    std::vector<std::byte> bytes(1 + input.byte() % 100);
    for (std::byte& byte : bytes) byte = std::byte{input.byte()};
    say(bytes, bytes.size());
  }
  void say_frame(Input& input) {
    FrameHeader header;
    header.kind = static_cast<FrameKind>(1 + input.byte() % 8);
    header.type = input.byte();
    header.request_id = input.byte();
    header.offset = input.number();
    header.length = input.number();
    const uint8_t how = input.byte();
    std::vector<std::byte> body(input.length(4096), std::byte{how});
    std::vector<std::byte> payload(input.length(kStripeMaxBytes), std::byte{how});
    header.body_bytes = static_cast<uint32_t>(body.size());
    header.payload_bytes = static_cast<uint32_t>(payload.size());
    header.body_crc = body.empty() ? 0 : crc32c(body);
    header.payload_crc = payload.empty() ? 0 : crc32c(payload);
    if (how == 255) header.payload_crc ^= 1;
    if (how == 254) header.body_crc ^= 1;
    if (how == 253) header.flags = input.byte();
    std::vector<std::byte> frame(sizeof header);
    encode_frame_header(header, frame.data());
    frame.insert(frame.end(), body.begin(), body.end());
    frame.insert(frame.end(), payload.begin(), payload.end());
    if (how == 252) frame.resize(frame.size() / 2);  // the next one comes in its middle
    say(frame, how < 64 ? 1 + how : frame.size());
  }
  void ask(Input& input) {
    if (lent_.size() >= kOpenMax) return;
    Lent& lent = lent_.emplace_back();
    lent.withdrawn.bind<&Lent::on_withdrawn>(&lent);
    lent.memory.resize(input.length(kMemoryMaxBytes));
    const size_t cut = lent.memory.empty() ? 0 : input.number() % lent.memory.size();
    lent.window.segments = {{lent.memory.data(), cut},
                            {lent.memory.data() + cut, lent.memory.size() - cut}};
    lent.window.direction =
        (input.byte() & 1) != 0 ? Window::Direction::source : Window::Direction::sink;
    lent.window.request_id = session_->next_request_id();
    session_->expose(lent.window);
    const std::vector<std::byte> body(24);
    [[maybe_unused]] const Status sent =
        session_->send(7, lent.window.request_id, body, &lent.window);
    turn();
    listen();
  }
  void withdraw(uint8_t which) {
    if (lent_.empty()) return;
    const auto lent = std::next(lent_.begin(), which % static_cast<ptrdiff_t>(lent_.size()));
    session_->withdraw(lent->window, lent->withdrawn);
    turn();
    if (lent->withdrawn.pending()) std::abort();
    lent_.erase(lent);
    turn();
  }
  void push(Input& input) {
    if (pushes_.size() >= kOpenMax) return;
    auto& push = pushes_.emplace_back();
    push.memory.resize(input.length(kMemoryMaxBytes), std::byte{1});
    push.move.request_id = input.byte();
    push.move.offset = input.number() % kWindowMaxBytes;
    push.move.bytes = push.memory;
    push.move.crc = crc32c(push.memory);
    push.move.done.bind<&Moving<Push>::on_done>(&push);
    session_->push(push.move);
    turn();
    listen();
  }
  void pull(Input& input) {
    if (pulls_.size() >= kOpenMax) return;
    auto& pull = pulls_.emplace_back();
    pull.memory.resize(input.length(kMemoryMaxBytes));
    pull.move.request_id = input.byte();
    pull.move.offset = input.number() % kWindowMaxBytes;
    pull.move.into = pull.memory;
    if ((input.byte() & 1) != 0) {
      pull.crcs.resize((pull.memory.size() + kPullBlockBytes - 1) / kPullBlockBytes);
      pull.move.block_crcs = pull.crcs;
    }
    pull.move.done.bind<&Moving<Pull>::on_done>(&pull);
    session_->pull(pull.move);
    turn();
    listen();
  }

  SimClock clock_;
  Loop loop_{clock_, Loop::Waits::epoll};
  TcpSocket peer_;
  bool closed_ = false;
  std::list<Lent> lent_;
  std::list<Moving<Push>> pushes_;
  std::list<Moving<Pull>> pulls_;
  std::unique_ptr<TcpSession> session_;
};

// A request of the peer that is pushed to, pulled from and answered; one of ours that is answered.
void seeds(SeedFolder& folder) {
  const std::string request("\x00\x00\x07\x01\x00\x00\x40\x18\x00", 9);  // id 1, a body of 24 bytes
  const std::string push("\x06\x4c\x01\x00", 4);                         // 4 KiB for request 1
  const std::string reply("\x08\x10\x07\x01", 4);
  folder.add(request + push + reply);
  const std::string pull("\x07\x50\x01\x00\x01", 5);  // 64 KiB of request 1
  const std::string pulled("\x00\x07\x00\x01\x00\x00\x40\x00\x50", 9);
  folder.add(request + pull + pulled + reply);
  folder.add(request + pull + std::string("\x00\x04\x00\x01\x00\x50\x40\x00\x00", 9));
  const std::string ask("\x04\x4c\x10\x00", 4);  // 4 KiB to fill
  const std::string stripe("\x00\x02\x00\x01\x00\x00\x40\x00\x4c", 9);
  const std::string answer("\x00\x01\x07\x01\x4c\x00\x40\x18\x00", 9);
  folder.add(ask + stripe + answer);
  folder.add(ask + answer + stripe + std::string("\x05\x00", 2));
  folder.add(ask + std::string("\x05\x00", 2) + stripe);
  const std::string lend("\x04\x54\x10\x01", 4);  // 1 MiB to be fetched
  folder.add(lend + std::string("\x00\x03\x00\x01\x00\x50\x40\x00\x00", 9) + answer);
  folder.add(request + push + pull + std::string("\x09\x01", 2) + reply);
  for (char kind = 0; kind < 8; ++kind) {
    folder.add(std::string("\x00", 1) + kind + std::string("\x07\x01\x00\x00\x40\x18\x00", 7));
  }
  folder.add(std::string("\x0a\xff\x0a\xff\x0b\x10", 6) + std::string(16, 'G'));
}

}  // namespace
}  // namespace gd2fs

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  gd2fs::set_log_level(gd2fs::LogLevel::off);
  return gd2fs::write_seeds_if_asked(*argc, *argv, gd2fs::seeds);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  gd2fs::Input input(data, size);
  gd2fs::Meeting meeting;
  for (size_t i = 0; i < gd2fs::kStepsMax && !input.empty(); ++i) meeting.step(input);
  return 0;
}
