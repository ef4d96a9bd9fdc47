#include "server/bind_handle.h"

#include "base/log.h"
#include "server/connection.h"
#include "server/server_state.h"

namespace gd2fs::server {

void bind_handle(Connection& connection, const msg::BindHandle& bind) {
  ServerState& server = connection.state();
  auto handle = server.authority.open_capability(
      bytes_of(bind.capability()), connection.cluster_id(), server.loop.clock().wall_us());
  if (handle.has_value()) {
    connection.handles().bind(bind.handle(), *handle);
    if (server.store.fences_unsure()) server.store.reached(handle->inode, handle->generation);
    const Status pinned = server.store.pin(
        {.inode = handle->inode, .pinned = handle->pinned, .stamp_us = handle->expiry_us});
    if (!pinned.ok()) {
      GD2FS_LOG_WARN("inode {} is not pinned here: {}", handle->inode, pinned.to_string());
    }
  } else {
    connection.handles().refuse(bind.handle(), handle.error());
  }
}

}  // namespace gd2fs::server
