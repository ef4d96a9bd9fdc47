#include "controller/controller.h"

namespace gd2fs::controller {

Task<Answer> heartbeat_op(Asker asker, msg::HeartbeatT request) {
  Controller& controller = *asker.controller;
  Member* member = controller.membership().find(request.server_id);
  if (member == nullptr || member->connection != asker.connection ||
      member->record.incarnation != request.incarnation) {
    co_return fail(StatusCode::stale, "register first");
  }
  member->free_bytes = request.free_bytes;
  member->used_bytes = request.used_bytes;
  if (member->owed) controller.fencing().start_catch_up(*member);
  msg::HeartbeatReplyT reply;
  reply.lease_ms = controller.membership().renew_lease(*member);
  co_return pack_body(reply);
}

}  // namespace gd2fs::controller
