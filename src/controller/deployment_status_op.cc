#include "controller/controller.h"

namespace gd2fs::controller {

Task<Answer> deployment_status_op(Asker asker, msg::DeploymentStatusT) {
  Controller& controller = *asker.controller;
  Membership& membership = controller.membership();
  msg::DeploymentStatusReplyT reply;
  reply.deployment_id = controller.options().deployment_id;
  reply.version = controller.options().version;
  reply.started_us = controller.started_us();
  GD2FS_CO_ASSIGN(const std::vector<Cluster> clusters, co_await controller.names().list_clusters());
  for (const Cluster& cluster : clusters) {
    auto usage = co_await controller.names().usage(cluster.id);
    if (usage.has_value()) reply.clusters.push_back(cluster_info(cluster, *usage));
  }
  const auto answers = co_await controller.ask_servers(msg::Type::server_status,
                                                       pack_body(msg::ServerStatusRequestT{}));
  reply.map_version = membership.map_version();
  for (const auto& member : membership.members()) {
    auto& server = reply.servers.emplace_back(std::make_unique<msg::ServerStatusT>());
    server->info = std::make_unique<msg::ServerInfoT>();
    server->info->server_id = member->record.server_id;
    server->info->incarnation = member->record.incarnation;
    server->info->addresses = member->record.addresses;
    server->info->alive = membership.serving(*member);
    for (const auto& answer : answers) {
      if (answer.server_id != member->record.server_id || !answer.reply.has_value()) continue;
      if (const auto* body = answer.reply->open<msg::ServerStatusReply>()) {
        msg::ServerStatusReplyT status;
        body->UnPackTo(&status);
        server->counters = std::move(status.counters);
        server->sessions = std::move(status.sessions);
      }
    }
  }
  for (auto& [name, value] : controller.metrics()) {
    auto& counter = reply.counters.emplace_back(std::make_unique<msg::CounterT>());
    counter->name = name;
    counter->value = value;
  }
  co_return pack_body(reply);
}

}  // namespace gd2fs::controller
