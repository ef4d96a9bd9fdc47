#include "controller/held.h"
#include "controller/operations.h"

namespace gd2fs::controller {

Task<Answer> usage_op(Asker asker, msg::UsageT request) {
  Controller& controller = *asker.controller;
  const uint16_t id = asker.cluster_id();
  GD2FS_CO_ASSIGN(const ClusterUsage tree, co_await when_free<ClusterUsage>(&controller, [&] {
                    return controller.names().usage_of(id, request.path);
                  }));
  GD2FS_CO_ASSIGN(const ClusterUsage all, co_await controller.names().usage(id));
  GD2FS_CO_ASSIGN(const Cluster cluster, co_await controller.names().get_cluster(id));
  msg::UsageReplyT reply;
  reply.files = tree.files;
  reply.directories = tree.directories;
  reply.size_bytes = tree.size_bytes;
  reply.cluster_used_bytes = all.reserved_bytes;
  reply.cluster_quota_bytes = cluster.policy.quota_bytes;
  co_return pack_body(reply);
}

}  // namespace gd2fs::controller
