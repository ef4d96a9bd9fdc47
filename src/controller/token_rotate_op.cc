#include "controller/controller.h"

namespace gd2fs::controller {

Task<Answer> token_rotate_op(Asker asker, msg::TokenRotateT request) {
  Controller& controller = *asker.controller;
  GD2FS_CO_ASSIGN(const MutationTag tag, tag_of(request.tag));
  GD2FS_CO_ASSIGN(const Cluster cluster, co_await controller.names().rotate_token(
                                             request.name, controller.make_token(), tag));
  // Who is told the new token may use it at once, at every server.
  GD2FS_CO_TRY(co_await controller.spread_keys());
  msg::TokenRotateReplyT reply;
  reply.token = cluster.token;
  co_return pack_body(reply);
}

}  // namespace gd2fs::controller
