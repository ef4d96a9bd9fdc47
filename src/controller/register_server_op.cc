#include "base/log.h"
#include "controller/controller.h"

namespace gd2fs::controller {

Task<Answer> register_server_op(Asker asker, msg::RegisterServerT request) {
  Controller& controller = *asker.controller;
  Membership& membership = controller.membership();
  if (request.info == nullptr || request.info->incarnation == 0) {
    co_return fail(StatusCode::invalid, "register: no incarnation");
  }
  if (request.deployment_id != controller.options().deployment_id) {
    co_return fail(StatusCode::invalid,
                   "the server's data directory belongs to another deployment");
  }
  ServerRecord record;
  record.server_id = request.info->server_id;
  record.incarnation = request.info->incarnation;
  record.addresses = request.info->addresses;
  GD2FS_CO_ASSIGN(Member * member, co_await membership.admit(asker.connection, std::move(record)));
  member->drives = request.drives;
  member->total_bytes = request.total_bytes;
  member->free_bytes = request.free_bytes;

  if (request.renew_capabilities) {
    // It is the only server, and lets nobody in before it has this answer or that to its next try.
    CapabilityKeys& keys = controller.capability_keys();
    GD2FS_CO_TRY(co_await keys.make_only(controller.loop().clock().wall_us()));
    keys.switch_over();
  }
  std::vector<uint64_t> inode_ends;
  if (request.inode_ends_wanted) {
    GD2FS_CO_ASSIGN(inode_ends, co_await controller.names().inode_ends());
  }

  // From here on fences are sent to this connection. What was made pending before, it is owed.
  if (member->owed) {
    const uint64_t changes = member->owed_changes;
    GD2FS_CO_ASSIGN(const std::vector<Intent> pending,
                    co_await controller.names().pending_intents({}));
    if (pending.empty() && changes == member->owed_changes) member->owed = false;
  }
  uint64_t version;
  do {
    version = controller.clusters().version();
    GD2FS_CO_TRY(co_await controller.clusters().reload());
  } while (version != controller.clusters().version());
  if (member->connection != asker.connection) {
    co_return fail(StatusCode::unavailable, "the server registered anew meanwhile");
  }
  // No waiting from here to the answer, so that later news follows it.
  if (member->owed) controller.fencing().start_catch_up(*member);
  msg::RegisterServerReplyT reply;
  reply.server_id = member->record.server_id;
  reply.lease_ms = membership.renew_lease(*member);
  auto& group = reply.groups.emplace_back(std::make_unique<msg::GroupInfoT>());
  group->group = membership.group().group;
  group->epoch = membership.group().epoch;
  group->members = membership.group().members;
  reply.keys = std::make_unique<msg::ClusterKeysT>();
  reply.inode_ends = std::move(inode_ends);
  controller.clusters().fill(*reply.keys);
  controller.capability_keys().fill(*reply.keys);
  GD2FS_LOG_INFO("server {} registered from {}, epoch {}", reply.server_id,
                 asker.connection->peer().address, group->epoch);
  co_return pack_body(reply);
}

}  // namespace gd2fs::controller
