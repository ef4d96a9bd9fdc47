#include "controller/connection.h"

#include "controller/controller.h"
#include "fabric/reply.h"

namespace gd2fs::controller {

Connection::Connection(Controller& controller, std::unique_ptr<Session> session,
                       uint16_t cluster_id)
    : controller_(controller),
      session_(std::move(session)),
      cluster_id_(cluster_id),
      calls_(controller.loop(), *session_) {
  session_->set_events(this);
}

Connection::~Connection() = default;

void Connection::end_request(uint64_t request_id, msg::Type type,
                             const Result<std::vector<std::byte>>& answer) {
  --requests_;
  if (!session_->open()) return;
  if (answer.has_value()) {
    reply_body(*session_, type, request_id, *answer);
  } else {
    reply_error(*session_, request_id, answer.error());
  }
}

void Connection::on_message(Session&, const Message& message) {
  controller_.on_request(shared_from_this(), message);
}

void Connection::on_reply(Session&, const Message& reply) {
  calls_.on_reply(reply);
}

void Connection::on_closed(Session&, const Status& reason) {
  calls_.on_closed(reason);
  controller_.on_connection_closed(*this);  // may end this
}

}  // namespace gd2fs::controller
