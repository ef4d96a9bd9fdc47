#include "client/cluster_map.h"

#include "wire/message.h"

namespace gd2fs::client {
namespace {

constexpr size_t kGroupsMax = 65536;

Status read_servers(const msg::ClusterMapReply& reply, ClusterMap* out) {
  if (reply.servers() == nullptr) return {};
  for (const msg::ServerInfo* info : *reply.servers()) {
    ClusterMap::Server& server = out->servers[info->server_id()];
    server.incarnation = info->incarnation();
    server.alive = info->alive();
    if (info->addresses() == nullptr) continue;
    for (const auto* address : *info->addresses()) {
      // Others are for later versions.
      const std::string_view text = text_of(address);
      if (text.starts_with("tcp://") || text.starts_with("rdma://")) {
        server.addresses.emplace_back(text);
      }
    }
  }
  return {};
}

Status read_groups(const msg::ClusterMapReply& reply, ClusterMap* out) {
  Status bad(StatusCode::io, "the controller's cluster map makes no sense");
  if (reply.groups() == nullptr || reply.groups()->size() == 0) {
    return {StatusCode::unavailable, "no server has registered with the controller yet"};
  }
  if (reply.groups()->size() > kGroupsMax) return bad;
  out->groups.resize(reply.groups()->size());
  for (const msg::GroupInfo* info : *reply.groups()) {
    if (info->group() >= out->groups.size() || info->members() == nullptr) return bad;
    ClusterMap::Group& group = out->groups[info->group()];
    group.epoch = info->epoch();
    group.members.assign(info->members()->begin(), info->members()->end());
    for (const uint32_t member : group.members) {
      if (!out->servers.contains(member)) return bad;
    }
  }
  for (const ClusterMap::Group& group : out->groups) {
    if (group.members.empty()) return bad;
  }
  return {};
}

}  // namespace

Result<ClusterMap> cluster_map_from(const msg::ClusterMapReply& reply) {
  ClusterMap out;
  out.version = reply.map_version();
  out.namespace_epoch = reply.namespace_epoch();
  GD2FS_TRY(read_servers(reply, &out));
  GD2FS_TRY(read_groups(reply, &out));
  return out;
}

}  // namespace gd2fs::client
