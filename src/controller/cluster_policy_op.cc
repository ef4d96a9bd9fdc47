#include "controller/controller.h"

namespace gd2fs::controller {

Task<Answer> cluster_policy_op(Asker asker, msg::ClusterPolicySetT request) {
  Controller& controller = *asker.controller;
  GD2FS_CO_ASSIGN(const MutationTag tag, tag_of(request.tag));
  GD2FS_CO_ASSIGN(const Cluster before, co_await controller.names().find_cluster(request.name));
  GD2FS_CO_ASSIGN(const ClusterPolicy policy, policy_of(request.policy.get(), before.policy));
  GD2FS_CO_ASSIGN(const Cluster after,
                  co_await controller.names().set_policy(request.name, policy, tag));
  // Servers acknowledge by it from now on.
  GD2FS_CO_TRY(co_await controller.spread_keys());
  co_return done_body();
}

}  // namespace gd2fs::controller
