// FakeSession: a Session for unit tests of one side. It keeps what was sent, replied, pushed and
// pulled; the test plays the peer: it delivers messages and ends pushes and pulls when it likes.
#pragma once

#include <cstring>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "fabric/fabric.h"
#include "wire/message.h"

namespace gd2fs {

class FakeSession final : public Session {
 public:
  struct Sent {
    uint16_t type = 0;
    uint64_t request_id = 0;
    std::vector<std::byte> body;
    msg::Type message_type() const { return static_cast<msg::Type>(type); }
    template <class Table>
    const Table* open() const {
      return open_body<Table>(body);
    }
  };

  FakeSession(Loop& loop, Peer peer) : loop_(loop), peer_(std::move(peer)) {}

  const Peer& peer() const override { return peer_; }
  bool open() const override { return open_; }
  std::string_view path() const override { return "fake"; }

  Status send(uint16_t type, uint64_t request_id, ConstBytes body, Window*) override {
    if (!open_) return Status(StatusCode::unavailable, "closed");
    sent.push_back({type, request_id, {body.begin(), body.end()}});
    return {};
  }
  Status reply(uint16_t type, uint64_t request_id, ConstBytes body) override {
    if (!open_) return Status(StatusCode::unavailable, "closed");
    if (!reply_status.ok()) return reply_status;
    replies.push_back({type, request_id, {body.begin(), body.end()}});
    return {};
  }
  void expose(Window&) override {}
  void withdraw(Window&, Completion& done) override {
    done.start();
    loop_.complete(done, Status());
  }
  void push(Push& push) override {
    push.done.start();
    if (!open_) return loop_.complete(push.done, Status(StatusCode::unavailable));
    pushes.push_back(push);
    ++pushes_seen;
    if (auto_push) land(push);
  }
  void pull(Pull& pull) override {
    pull.done.start();
    if (!open_) return loop_.complete(pull.done, Status(StatusCode::unavailable));
    pulls.push_back(pull);
    ++pulls_seen;
    if (auto_pull) feed(pull);
  }
  void drop_request(uint64_t request_id) override {
    dropped.push_back(request_id);
    end_if(StatusCode::canceled, [&](uint64_t id) { return id == request_id; });
  }
  void close(Status reason) override {
    if (!open_) return;
    open_ = false;
    end_if(StatusCode::unavailable, [](uint64_t) { return true; });
    close_reason = std::move(reason);
    closing_.bind<&FakeSession::on_closing>(this);
    closing_.start();
    loop_.complete(closing_, Status());
  }

  // --- the peer ---
  template <class Object>
  void deliver(msg::Type type, uint64_t request_id, const Object& object) {
    deliver_bytes(type, request_id, pack_body(object));
  }
  void deliver_bytes(msg::Type type, uint64_t request_id, const std::vector<std::byte>& body) {
    events_->on_message(*this, {FrameKind::message, static_cast<uint16_t>(type), request_id, body});
  }
  template <class Object>
  void answer(const Sent& request, const Object& object) {
    const auto body = pack_body(object);
    events_->on_reply(*this, {FrameKind::reply, request.type, request.request_id, body});
  }
  void answer_error(const Sent& request, const Status& status) {
    const auto body = pack_error(status);
    events_->on_reply(*this, {FrameKind::reply, static_cast<uint16_t>(msg::Type::error),
                              request.request_id, body});
  }
  // Of the requests 1..last, how many have no reply yet.
  size_t requests_unanswered(uint64_t last) const {
    size_t answered = 0;
    for (const Sent& reply : replies) answered += reply.request_id >= 1 && reply.request_id <= last;
    return last - answered;
  }
  // The bytes of a push arrive in windows[request_id]; its memory is free.
  void land(Push& push) {
    auto& window = windows[push.request_id];
    if (window.size() < push.offset + push.bytes.size()) {
      window.resize(push.offset + push.bytes.size());
    }
    std::memcpy(window.data() + push.offset, push.bytes.data(), push.bytes.size());
    push.unlink();
    loop_.complete(push.done, Status(), push.bytes.size());
  }
  // A pull gets its bytes from windows[request_id].
  void feed(Pull& pull) {
    auto& window = windows[pull.request_id];
    pull.unlink();
    if (pull.offset + pull.into.size() > window.size()) {
      return loop_.complete(pull.done, Status(StatusCode::canceled, "outside the window"));
    }
    std::memcpy(pull.into.data(), window.data() + pull.offset, pull.into.size());
    loop_.complete(pull.done, Status(), pull.into.size());
  }

  std::vector<Sent> sent;
  std::vector<Sent> replies;
  std::vector<uint64_t> dropped;
  List<Push> pushes;  // not landed yet
  List<Pull> pulls;   // not fed yet
  size_t pushes_seen = 0;
  size_t pulls_seen = 0;
  bool auto_push = true;
  bool auto_pull = true;
  Status reply_status;  // what reply() answers
  Status close_reason;
  std::map<uint64_t, std::vector<std::byte>> windows;

 private:
  template <class Which>
  void end_if(StatusCode code, Which which) {
    for (Push* push = pushes.front(); push != nullptr;) {
      Push* next = pushes.next(*push);
      if (which(push->request_id)) {
        push->unlink();
        loop_.complete(push->done, Status(code));
      }
      push = next;
    }
    for (Pull* pull = pulls.front(); pull != nullptr;) {
      Pull* next = pulls.next(*pull);
      if (which(pull->request_id)) {
        pull->unlink();
        loop_.complete(pull->done, Status(code));
      }
      pull = next;
    }
  }
  void on_closing(Completion&) {
    if (events_ != nullptr) events_->on_closed(*this, close_reason);
  }

  Loop& loop_;
  Peer peer_;
  bool open_ = true;
  Completion closing_;
};

}  // namespace gd2fs
