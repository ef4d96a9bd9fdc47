#include "server/controller_requests.h"
#include "server/registration.h"

namespace gd2fs::server {

Task<void> fence_op(Registration* registration, Asker asker, StoreFence fence, uint16_t cluster_id,
                    uint64_t namespace_epoch) {
  ServerState& server = registration->state();
  if (namespace_epoch > 0) server.authority.raise_namespace(cluster_id, namespace_epoch);
  if (fence.generation > 0) {
    if (fence.chunk_log2 < kChunkLog2Min || fence.chunk_log2 > kChunkLog2Max) {
      registration->reply_error(asker.session_number, asker.request_id,
                                Status(StatusCode::invalid, "fence: chunk size out of range"));
      co_return;
    }
    Await durable;
    server.store.fence(fence, durable.done());
    const Status status = co_await durable;
    if (!status.ok()) {
      registration->reply_error(asker.session_number, asker.request_id, status.with("fence"));
      co_return;
    }
  }
  ++server.counters.fences_total;
  registration->reply(asker.session_number, msg::Type::fence, asker.request_id,
                      pack_body(msg::DoneT{}));
}

}  // namespace gd2fs::server
