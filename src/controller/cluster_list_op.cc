#include "controller/controller.h"

namespace gd2fs::controller {

Task<Answer> cluster_list_op(Asker asker, msg::ClusterListT) {
  Controller& controller = *asker.controller;
  GD2FS_CO_ASSIGN(const std::vector<Cluster> list, co_await controller.names().list_clusters());
  msg::ClusterListReplyT reply;
  for (const Cluster& cluster : list) {
    auto usage = co_await controller.names().usage(cluster.id);
    if (!usage.has_value() && usage.error().is(StatusCode::not_found)) continue;  // just removed
    if (!usage.has_value()) co_return fail(usage.error());
    reply.clusters.push_back(cluster_info(cluster, *usage));
  }
  co_return pack_body(reply);
}

}  // namespace gd2fs::controller
