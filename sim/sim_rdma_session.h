// SimRdmaSession: an RDMA session of a simulated process: the real one (src/fabric), of which no
// call comes any more once its process was killed. Made by SimRdmaFabric. One thread.
#pragma once

#include "fabric/rdma_session.h"
#include "sim/sim_nics.h"

namespace gd2fs {

class SimRdmaSession final : public Session, public ListNode<>, private SessionEvents {
 public:
  SimRdmaSession(const SimNics& nics, std::unique_ptr<RdmaSession> session)
      : nics_(nics), session_(std::move(session)) {
    session_->set_events(this);
  }
  Status start() { return session_->start(); }
  // Its process is gone, and with it the queue pair.
  void die();

  const Peer& peer() const override { return session_->peer(); }
  bool open() const override { return session_->open(); }
  std::string_view path() const override { return session_->path(); }
  Status send(uint16_t type, uint64_t request_id, ConstBytes body, Window* window) override {
    return session_->send(type, request_id, body, window);
  }
  Status reply(uint16_t type, uint64_t request_id, ConstBytes body) override {
    return session_->reply(type, request_id, body);
  }
  std::optional<uint32_t> distance_to(const MemorySegment& memory) override {
    return session_->distance_to(memory);
  }
  void expose(Window& window) override { session_->expose(window); }
  void withdraw(Window& window, Completion& done) override {
    if (nics_.skip_recalls) window.shown = false;
    session_->withdraw(window, done);
  }
  bool let_go(Window& window) override { return session_->let_go(window); }
  bool wants_crcs() const override { return session_->wants_crcs(); }
  void push(Push& push) override { session_->push(push); }
  void pull(Pull& pull) override { session_->pull(pull); }
  void drop_request(uint64_t request_id) override { session_->drop_request(request_id); }
  void close(Status reason) override { session_->close(std::move(reason)); }

 private:
  void on_message(Session&, const Message& message) override {
    if (!dead_) events_->on_message(*this, message);
  }
  void on_reply(Session&, const Message& reply) override {
    if (!dead_) events_->on_reply(*this, reply);
  }
  void on_closed(Session&, const Status& reason) override {
    unlink();
    if (!dead_) events_->on_closed(*this, reason);
  }

  const SimNics& nics_;
  std::unique_ptr<RdmaSession> session_;
  bool dead_ = false;
};

}  // namespace gd2fs
