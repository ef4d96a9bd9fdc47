#include "controller/controller.h"

namespace gd2fs::controller {

Task<Answer> cluster_create_op(Asker asker, msg::ClusterCreateT request) {
  Controller& controller = *asker.controller;
  GD2FS_CO_ASSIGN(const MutationTag tag, tag_of(request.tag));
  GD2FS_CO_ASSIGN(const ClusterPolicy policy, policy_of(request.policy.get(), {}));
  if (controller.clusters().all().size() >= controller.options().clusters_max) {
    co_return fail(StatusCode::no_space, "clusters_max clusters", EDQUOT);
  }
  GD2FS_CO_ASSIGN(const Cluster cluster, co_await controller.names().create_cluster(
                                             request.name, policy, controller.make_token(), tag));
  // Who is told the token may use it at once, at every server.
  GD2FS_CO_TRY(co_await controller.spread_keys());
  msg::ClusterCreateReplyT reply;
  reply.cluster_id = cluster.id;
  reply.token = cluster.token;
  co_return pack_body(reply);
}

}  // namespace gd2fs::controller
