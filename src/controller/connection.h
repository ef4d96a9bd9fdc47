// Connection: one session at the controller, of a client, a data server or an administrator.
//
// Each request becomes one coroutine (dispatch.h); the connection bounds how many run and carries
// their answers back. It is shared: by the controller until the session is closed, and by each
// request until it has ended, because a mutation goes on when its client has left. The controller's
// own questions to a data server go through calls(). One loop.
#pragma once

#include <memory>

#include "fabric/calls.h"
#include "fabric/fabric.h"
#include "wire/message.h"

namespace gd2fs::controller {

class Controller;

class Connection final : public SessionEvents, public std::enable_shared_from_this<Connection> {
 public:
  Connection(Controller& controller, std::unique_ptr<Session> session, uint16_t cluster_id);
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  PeerRole role() const { return session_->peer().role; }
  const Peer& peer() const { return session_->peer(); }
  uint16_t cluster_id() const { return cluster_id_; }  // 0 unless a client's
  bool open() const { return session_->open(); }
  void close(Status why) { session_->close(std::move(why)); }
  Calls& calls() { return calls_; }
  // The data server that registered here; 0: none.
  uint32_t server_id = 0;

  size_t requests() const { return requests_; }
  void begin_request() { ++requests_; }
  void end_request(uint64_t request_id, msg::Type type,
                   const Result<std::vector<std::byte>>& answer);

  void on_message(Session& session, const Message& message) override;
  void on_reply(Session& session, const Message& reply) override;
  void on_closed(Session& session, const Status& reason) override;

 private:
  Controller& controller_;
  std::unique_ptr<Session> session_;
  uint16_t cluster_id_;
  Calls calls_;
  size_t requests_ = 0;
};

}  // namespace gd2fs::controller
