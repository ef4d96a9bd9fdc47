// Cancel: a client gave a request up and has withdrawn its window.
#pragma once

#include "wire/messages_generated.h"

namespace gd2fs::server {

class Connection;

// The request moves no more bytes, starts nothing more and ends as soon as what the store has begun
// has ended; it is still answered (canceled, or its true result if that was on its way). Unknown
// requests have ended already: nothing to do.
void cancel_request(Connection& connection, const msg::Cancel& cancel);

}  // namespace gd2fs::server
