// Reply: what every handler of requests needs to answer with.
#pragma once

#include "fabric/fabric.h"
#include "wire/message.h"

namespace gd2fs {

// Answers a request with a failure. A request that could not be answered because the session is
// closed or its queue is full needs no further care: the peer learns it from the close.
void reply_error(Session& session, uint64_t request_id, const Status& status);

// Answers a request with a finished body. A body over the limit becomes an `invalid` error.
void reply_body(Session& session, msg::Type type, uint64_t request_id, ConstBytes body);

}  // namespace gd2fs
