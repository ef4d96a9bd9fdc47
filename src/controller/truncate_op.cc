#include "controller/held.h"
#include "controller/operations.h"

namespace gd2fs::controller {

Task<Answer> truncate_op(Asker asker, msg::TruncateT request) {
  Controller& controller = *asker.controller;
  GD2FS_CO_ASSIGN(const MutationTag tag, tag_of(request.tag));
  GD2FS_CO_ASSIGN(const Mutated changed, co_await when_free<Mutated>(&controller, [&] {
                    return controller.names().truncate(asker.cluster_id(), request.path,
                                                       request.size_bytes, tag);
                  }));
  GD2FS_CO_TRY(co_await controller.fencing().settle(changed.intents));
  msg::TruncateReplyT reply;
  reply.info = file_info(controller, changed.info, true);
  co_return pack_body(reply);
}

}  // namespace gd2fs::controller
