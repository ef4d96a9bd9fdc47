#include "controller/held.h"
#include "controller/operations.h"

namespace gd2fs::controller {

Task<Answer> lookup_op(Asker asker, msg::LookupT request) {
  Controller& controller = *asker.controller;
  const uint16_t cluster = asker.cluster_id();
  Looked looked;
  if (request.create_if_missing) {
    GD2FS_CO_ASSIGN(const MutationTag tag, tag_of(request.tag));
    GD2FS_CO_ASSIGN(looked, co_await when_free<Looked>(&controller, [&] {
                      return controller.names().lookup_or_create(cluster, request.path, {}, tag);
                    }));
  } else {
    GD2FS_CO_ASSIGN(looked.info, co_await when_free<InodeInfo>(&controller, [&] {
                      return controller.names().lookup(cluster, request.path);
                    }));
  }
  msg::LookupReplyT reply;
  reply.info = file_info(controller, looked.info, request.write || request.create_if_missing);
  reply.created = looked.created;
  co_return pack_body(reply);
}

}  // namespace gd2fs::controller
