#include "server/controller_requests.h"

#include "server/registration.h"

namespace gd2fs::server {

Result<Task<void>> controller_request(Registration& registration, uint64_t session_number,
                                      const Message& message) {
  const Asker asker{session_number, message.request_id};
  switch (static_cast<msg::Type>(message.type)) {
    case msg::Type::fence:
      if (const auto* body = open_body<msg::Fence>(message.body)) {
        StoreFence fence;
        fence.inode = body->inode();
        fence.generation = body->generation();
        fence.keep_bytes = body->keep_bytes();
        fence.chunk_log2 = body->chunk_log2();
        fence.unlinked = body->unlinked();
        return fence_op(&registration, asker, fence, body->cluster_id(), body->namespace_epoch());
      }
      break;
    case msg::Type::cluster_keys:
      if (open_body<msg::ClusterKeys>(message.body) != nullptr) {
        return cluster_keys_op(&registration, asker, {message.body.begin(), message.body.end()});
      }
      break;
    case msg::Type::server_status:
      if (open_body<msg::ServerStatusRequest>(message.body) != nullptr) {
        return server_status_op(&registration, asker);
      }
      break;
    case msg::Type::server_scrub:
      if (const auto* body = open_body<msg::Scrub>(message.body)) {
        return server_scrub_op(&registration, asker, body->rate_bytes_per_s(), body->status_only());
      }
      break;
    case msg::Type::server_evict:
      if (const auto* body = open_body<msg::ServerEvict>(message.body)) {
        return server_evict_op(&registration, asker, body->inode());
      }
      break;
    case msg::Type::server_pin:
      if (const auto* body = open_body<msg::ServerPin>(message.body)) {
        StorePin pin;
        pin.inode = body->inode();
        pin.pinned = body->pinned();
        pin.stamp_us = body->stamp_us();
        pin.told = true;
        pin.size_bytes = body->size_bytes();
        return server_pin_op(&registration, asker, pin);
      }
      break;
    default:
      return fail(StatusCode::unsupported, "unknown operation");
  }
  return fail(StatusCode::invalid, "malformed request of the controller");
}

}  // namespace gd2fs::server
