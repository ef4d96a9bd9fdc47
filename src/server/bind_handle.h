// BindHandle: a client presents the capability of a file and the handle it will call it by.
#pragma once

#include "wire/messages_generated.h"

namespace gd2fs::server {

class Connection;

// Verifies the capability (signature, cluster, expiry) and keeps what it permits, or why it was
// refused. One-way: the first request with the handle gets the refusal.
void bind_handle(Connection& connection, const msg::BindHandle& bind);

}  // namespace gd2fs::server
