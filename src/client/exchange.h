// Exchange: one request to a peer and its reply, retried until it is answered or given up.
//
// The owner derives, sets type, window and credit_bytes, and hands it to Peer::start(). The peer
// sends it as soon as a connection and credit allow, again after a lost connection, and after a
// pause when the answer was `busy`. `done` then completes exactly once, with `outcome` and `reply`
// set; by then no peer can touch the window's memory. Belongs to one loop.
#pragma once

#include <vector>

#include <flatbuffers/flatbuffers.h>

#include "base/list.h"
#include "base/small_vector.h"
#include "fabric/fabric.h"
#include "wire/message.h"

namespace gd2fs::client {

class Link;
class Peer;

class Exchange : public ListNode<> {
 public:
  Exchange() { withdrawn_.bind<&Exchange::on_withdrawn>(this); }
  virtual ~Exchange() = default;

  // Its turn on `link` has come: builds the body, which stays in `builder`, and may send one-way
  // messages ahead of it. A failure ends the exchange.
  virtual Result<ConstBytes> compose(Link& link, flatbuffers::FlatBufferBuilder& builder) = 0;

  // Of open links the nearest is taken; one out of reach only if no other is open, and what it
  // cannot do then is the exchange's outcome.
  static constexpr uint32_t kOutOfReach = UINT32_MAX;
  virtual uint32_t distance(const Link&) const { return 0; }
  // Rather than go over this one, out of reach, it waits while another may come to be open.
  virtual bool must_reach(const Link&) const { return false; }

  msg::Type type = msg::Type::none;
  Window* window = nullptr;   // exposed when sent; nullptr: a message alone
  uint64_t credit_bytes = 0;  // counted against the peer's bytes in flight
  // Answer `unavailable` instead of trying the same peer again: there is another one.
  bool elsewhere = false;

  Completion done;
  Status outcome;
  SmallVector<std::byte, 128> reply;  // also of an error
  bool perhaps_executed = false;      // it was sent, and no answer told what became of that

  bool idle() const { return state_ == State::idle; }
  // As Peer::cancel, at the peer where it was started.
  void cancel();
  // Where it was started last; nullptr: nowhere yet.
  const Peer* peer() const { return peer_; }
  // The peer takes bytes out of the window, and puts none in.
  bool writes() const {
    return window != nullptr && window->direction == Window::Direction::source;
  }
  // Bytes that moved since it was last sent.
  uint64_t moved_bytes() const { return window == nullptr ? 0 : window->moved_bytes; }

 private:
  friend class Peer;
  friend class Link;
  enum class State : uint8_t { idle, queued, unreached, pausing, sent, withdrawing };
  void on_withdrawn(Completion&);

  State state_ = State::idle;
  bool canceled_ = false;
  uint32_t pauses_ = 0;
  uint64_t request_id_ = 0;
  Peer* peer_ = nullptr;
  Link* link_ = nullptr;  // while it is sent
  Completion withdrawn_;  // its window is out of reach; what the answer means is decided now
  Timer pause_;
};

// An exchange whose body never changes.
class MessageExchange : public Exchange {
 public:
  void set(msg::Type message_type, std::vector<std::byte> message_body) {
    type = message_type;
    body_ = std::move(message_body);
  }
  Result<ConstBytes> compose(Link&, flatbuffers::FlatBufferBuilder&) override {
    return ConstBytes(body_);
  }

 private:
  std::vector<std::byte> body_;
};

}  // namespace gd2fs::client
