#include "controller/held.h"
#include "controller/operations.h"

namespace gd2fs::controller {

Task<Answer> evict_op(Asker asker, msg::EvictT request) {
  Controller& controller = *asker.controller;
  msg::ServerEvictT evict;
  if (asker.connection->role() == PeerRole::admin) {
    evict.inode = UINT64_MAX;
  } else {
    GD2FS_CO_ASSIGN(const InodeInfo info, co_await when_free<InodeInfo>(&controller, [&] {
                      return controller.names().lookup(asker.cluster_id(), request.path);
                    }));
    if (info.type != FileType::file) {
      co_return fail(StatusCode::invalid, request.path + " is a directory", EISDIR);
    }
    evict.inode = info.inode;
  }
  const auto answers = co_await controller.ask_servers(msg::Type::server_evict, pack_body(evict));
  for (const auto& answer : answers) {
    if (!answer.reply.has_value()) co_return fail(answer.reply.error());
  }
  co_return done_body();
}

}  // namespace gd2fs::controller
