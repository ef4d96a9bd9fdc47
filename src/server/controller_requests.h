// What the controller asks of a data server, a coroutine and a file each: fence_op.cc,
// cluster_keys_op.cc, server_status_op.cc, server_scrub_op.cc, server_evict_op.cc,
// server_pin_op.cc. Each answers through the registration, for the session that asked. They are
// served without a lease.
#pragma once

#include <vector>

#include "fabric/fabric.h"
#include "loop/task.h"
#include "store/store.h"

namespace gd2fs::server {

class Registration;

// Whom to answer.
struct Asker {
  uint64_t session_number = 0;
  uint64_t request_id = 0;
};

// Opens the message and makes its coroutine. unsupported: unknown; invalid: malformed.
Result<Task<void>> controller_request(Registration& registration, uint64_t session_number,
                                      const Message& message);

// Answers when the fence is durable here. A namespace epoch needs no drive: it comes again with the
// next registration.
Task<void> fence_op(Registration* registration, Asker asker, StoreFence fence, uint16_t cluster_id,
                    uint64_t namespace_epoch);
// All clusters, with their tokens: after a creation, removal or rotation.
Task<void> cluster_keys_op(Registration* registration, Asker asker, std::vector<std::byte> keys);
Task<void> server_status_op(Registration* registration, Asker asker);
// Starts a scrub unless one runs (or status_only), and answers how the last one went.
Task<void> server_scrub_op(Registration* registration, Asker asker, uint64_t rate_bytes_per_s,
                           bool status_only);
// no_space: more than may be pinned.
Task<void> server_pin_op(Registration* registration, Asker asker, StorePin pin);
Task<void> server_evict_op(Registration* registration, Asker asker, uint64_t inode);

}  // namespace gd2fs::server
