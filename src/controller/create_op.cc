#include "controller/held.h"
#include "controller/operations.h"

namespace gd2fs::controller {

Task<Answer> create_op(Asker asker, msg::CreateT request) {
  Controller& controller = *asker.controller;
  if (request.flags != 0) co_return fail(StatusCode::invalid, "unknown flags");
  GD2FS_CO_ASSIGN(const MutationTag tag, tag_of(request.tag));
  CreateOptions options;
  options.size_bytes = request.size_bytes;
  options.chunk_log2 = request.chunk_log2;
  GD2FS_CO_ASSIGN(const Mutated made, co_await when_free<Mutated>(&controller, [&] {
                    return controller.names().create(asker.cluster_id(), request.path, options,
                                                     tag);
                  }));
  GD2FS_CO_TRY(co_await controller.fencing().settle(made.intents));
  msg::CreateReplyT reply;
  reply.info = file_info(controller, made.info, true);
  co_return pack_body(reply);
}

}  // namespace gd2fs::controller
