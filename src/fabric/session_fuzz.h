// For fuzzers of sessions: the input, and our side of a session, which asks, answers, pushes, pulls
// and gives up while its peer says what it likes. What our side lends is freed the moment it is its
// own again, so the sanitizer sees a late byte; when the session has closed, nothing may be
// pending.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <list>
#include <vector>

#include "base/crc32c.h"
#include "fabric/fabric.h"
#include "sim/sim_clock.h"

namespace gd2fs {

class FuzzInput {
 public:
  FuzzInput(const uint8_t* data, size_t size) : data_(data), size_(size) {}
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

// One loop, one session. `input` says what our side does; a derived class has the peer.
class FuzzedSession : public SessionEvents {
 public:
  static constexpr size_t kStepsMax = 300;

  // A number of a step that our side takes; the others are the peer's.
  static constexpr uint8_t kOwnSteps = 7;
  void own_step(uint8_t which, FuzzInput& input) {
    switch (which) {
      case 0:
        return ask(input);
      case 1:
        return withdraw(input.byte());
      case 2:
        return push(input);
      case 3:
        return pull(input);
      case 4: {
        const std::vector<std::byte> body(input.length(kFrameBodyMaxBytes + 1), std::byte{7});
        [[maybe_unused]] const Status said = session_->reply(input.byte(), input.byte(), body);
        return turn();
      }
      case 5:
        session_->drop_request(input.byte());
        return turn();
      default:
        clock_.advance_ns(uint64_t{input.byte()} * 100 * kMs);
        return turn();
    }
  }

  void on_message(Session&, const Message& message) override {
    if (message.body.size() > kFrameBodyMaxBytes) std::abort();
  }
  void on_reply(Session&, const Message& reply) override {
    if (reply.body.size() > kFrameBodyMaxBytes) std::abort();
  }
  void on_closed(Session&, const Status&) override { closed_ = true; }

 protected:
  static constexpr size_t kMemoryMaxBytes = 1 << 20;

  ~FuzzedSession() override = default;
  // Whatever our side says is thrown away.
  virtual void listen() = 0;
  // Where the bytes of a push lie, if the peer may have them from there.
  virtual SharedPlace place_of(const Push&, FuzzInput&) { return {}; }

  void end() {
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
  void turn() {
    while (loop_.turn(0) > 0) {
    }
    std::erase_if(pushes_, [](const auto& push) { return !push.move.done.pending(); });
    std::erase_if(pulls_, [](const auto& pull) { return !pull.move.done.pending(); });
  }

  SimClock clock_;
  Loop loop_{clock_, Loop::Waits::epoll};
  bool closed_ = false;
  std::unique_ptr<Session> session_;  // a derived class destroys it before what is below

 private:
  static constexpr size_t kOpenMax = 64;  // windows, pushes and pulls at once

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

  void ask(FuzzInput& input) {
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
  void push(FuzzInput& input) {
    if (pushes_.size() >= kOpenMax) return;
    auto& push = pushes_.emplace_back();
    push.memory.resize(input.length(kMemoryMaxBytes), std::byte{1});
    push.move.request_id = input.byte();
    push.move.offset = input.number() % kWindowMaxBytes;
    push.move.bytes = push.memory;
    push.move.crc = crc32c(push.memory);
    push.move.place = place_of(push.move, input);
    push.move.done.bind<&Moving<Push>::on_done>(&push);
    session_->push(push.move);
    turn();
    listen();
  }
  void pull(FuzzInput& input) {
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

  std::list<Lent> lent_;
  std::list<Moving<Push>> pushes_;
  std::list<Moving<Pull>> pulls_;
};

// The frame that `input` draws, with a kind up to kinds_max.
struct FuzzFrame {
  std::vector<std::byte> bytes;
  uint8_t how = 0;  // it is said: small, in pieces of so many bytes and one

  FuzzFrame(FuzzInput& input, uint8_t kinds_max) {
    FrameHeader header;
    header.kind = static_cast<FrameKind>(1 + input.byte() % kinds_max);
    header.type = input.byte();
    header.request_id = input.byte();
    header.offset = input.number();
    header.length = input.number();
    how = input.byte();
    std::vector<std::byte> body(input.length(4096), std::byte{how});
    std::vector<std::byte> payload(input.length(kStripeMaxBytes), std::byte{how});
    header.body_bytes = static_cast<uint32_t>(body.size());
    header.payload_bytes = static_cast<uint32_t>(payload.size());
    header.body_crc = body.empty() ? 0 : crc32c(body);
    header.payload_crc = payload.empty() ? 0 : crc32c(payload);
    if (how == 255) header.payload_crc ^= 1;
    if (how == 254) header.body_crc ^= 1;
    if (how == 253) header.flags = input.byte();
    bytes.resize(sizeof header);
    encode_frame_header(header, bytes.data());
    bytes.insert(bytes.end(), body.begin(), body.end());
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    if (how == 252) bytes.resize(bytes.size() / 2);  // the next one comes in its middle
  }
};

}  // namespace gd2fs
