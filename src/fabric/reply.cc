#include "fabric/reply.h"

#include "base/log.h"

namespace gd2fs {
namespace {

void send_reply(Session& session, msg::Type type, uint64_t request_id, ConstBytes body) {
  const Status status = session.reply(static_cast<uint16_t>(type), request_id, body);
  if (status.ok() || !session.open()) return;
  // A requester without its answer would wait for ever; one whose session ends asks again.
  session.close(status.with("reply could not be queued"));
}

}  // namespace

void reply_error(Session& session, uint64_t request_id, const Status& status) {
  send_reply(session, msg::Type::error, request_id, pack_error(status));
}

void reply_body(Session& session, msg::Type type, uint64_t request_id, ConstBytes body) {
  if (body.size() > kFrameBodyMaxBytes) {
    reply_error(session, request_id, Status(StatusCode::invalid, "the answer is over 1 MiB"));
    return;
  }
  send_reply(session, type, request_id, body);
}

}  // namespace gd2fs
