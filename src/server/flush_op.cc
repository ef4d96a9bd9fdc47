#include "server/flush_op.h"

#include "server/connection.h"
#include "server/server_state.h"

namespace gd2fs::server {

void FlushOp::start(Connection& connection, uint64_t request_id) {
  connection_ = &connection;
  request_id_ = request_id;
  connection.begin(*this);
  connection.state().store.flush(flushed_);
}

void FlushOp::on_flushed(Completion& done) {
  Connection& connection = *connection_;
  ServerState& server = connection.state();
  if (done.status.ok()) {
    auto& builder = server.reply_builder();
    connection.reply(msg::Type::flush, request_id_, finish_body(builder, msg::CreateDone(builder)));
  } else {
    connection.reply_error(request_id_, done.status);
  }
  server.flush_ops.put(this);
  connection.end(*this);
}

}  // namespace gd2fs::server
