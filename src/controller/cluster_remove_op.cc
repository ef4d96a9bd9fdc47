#include "controller/controller.h"

namespace gd2fs::controller {

Task<Answer> cluster_remove_op(Asker asker, msg::ClusterRemoveT request) {
  Controller& controller = *asker.controller;
  GD2FS_CO_ASSIGN(const MutationTag tag, tag_of(request.tag));
  GD2FS_CO_TRY(co_await controller.names().remove_cluster(request.name, tag));
  GD2FS_CO_TRY(co_await controller.spread_keys());
  co_return done_body();
}

}  // namespace gd2fs::controller
