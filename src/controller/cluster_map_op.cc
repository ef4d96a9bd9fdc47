#include "controller/controller.h"

namespace gd2fs::controller {

Task<Answer> cluster_map_op(Asker asker, msg::ClusterMapT) {
  Controller& controller = *asker.controller;
  Membership& membership = controller.membership();
  msg::ClusterMapReplyT reply;
  if (asker.cluster_id() != 0) {
    GD2FS_CO_ASSIGN(const Cluster cluster,
                    co_await controller.names().get_cluster(asker.cluster_id()));
    reply.cluster_id = cluster.id;
    reply.cluster = cluster.name;
    reply.policy = policy_body(cluster.policy);
    reply.namespace_epoch = cluster.namespace_epoch;
  }
  reply.map_version = membership.map_version();
  reply.deployment_id = controller.options().deployment_id;
  auto& group = reply.groups.emplace_back(std::make_unique<msg::GroupInfoT>());
  group->group = membership.group().group;
  group->epoch = membership.group().epoch;
  group->members = membership.group().members;
  for (const auto& member : membership.members()) {
    auto& info = reply.servers.emplace_back(std::make_unique<msg::ServerInfoT>());
    info->server_id = member->record.server_id;
    info->incarnation = member->record.incarnation;
    info->addresses = member->record.addresses;
    info->alive = membership.serving(*member);
  }
  co_return pack_body(reply);
}

}  // namespace gd2fs::controller
