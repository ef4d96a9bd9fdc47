#include "controller/held.h"
#include "controller/operations.h"

namespace gd2fs::controller {

Task<Answer> reserve_op(Asker asker, msg::ReserveT request) {
  Controller& controller = *asker.controller;
  if (cluster_of_inode(request.inode) != asker.cluster_id()) {
    co_return fail(StatusCode::denied, "the inode is of another cluster");
  }
  GD2FS_CO_ASSIGN(const InodeInfo info, co_await when_free<InodeInfo>(&controller, [&] {
                    return controller.names().reserve(request.inode, request.generation,
                                                      request.end_bytes);
                  }));
  msg::ReserveReplyT reply;
  reply.reserved_bytes = info.reserved_bytes;
  reply.size_bytes = info.size_bytes;
  co_return pack_body(reply);
}

}  // namespace gd2fs::controller
