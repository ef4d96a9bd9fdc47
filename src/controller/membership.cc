#include "controller/membership.h"

#include "base/log.h"

namespace gd2fs::controller {

Task<Status> Membership::open() {
  auto transaction = store_.begin();
  const std::string group_name = group_key(0);
  GD2FS_CO_ASSIGN(const auto group, co_await transaction->get(group_name));
  if (!group.has_value()) co_return Status();
  GD2FS_CO_ASSIGN(group_, decode_group(group_name, *group));
  for (const uint32_t server_id : group_.members) {
    const std::string key = server_key(server_id);
    GD2FS_CO_ASSIGN(const auto value, co_await transaction->get(key));
    if (!value.has_value()) {
      co_return Status(StatusCode::corrupt, "a group names a server that has no record");
    }
    auto member = std::make_unique<Member>();
    GD2FS_CO_ASSIGN(member->record, decode_server(key, *value));
    member->lease_until_ns = loop_.now_ns() + options_.lease_ns + options_.lease_margin_ns;
    members_.push_back(std::move(member));
  }
  co_return Status();
}

Member* Membership::find(uint32_t server_id) {
  for (const auto& member : members_) {
    if (member->record.server_id == server_id) return member.get();
  }
  return nullptr;
}

Task<Result<Member*>> Membership::admit(std::shared_ptr<Connection> connection,
                                        ServerRecord record) {
  if (record.server_id == 0) record.server_id = 1;
  Member* member = find(record.server_id);
  if (member == nullptr && !members_.empty()) {
    co_return fail(StatusCode::unsupported,
                   "this deployment has its one data server; more need replication");
  }
  if (admitting_) co_return fail(StatusCode::busy, "a server is just registering");
  const bool same_process = member != nullptr && member->record.incarnation == record.incarnation;
  if (member != nullptr && !same_process && member->connected() &&
      member->connection != connection && !lease_ended(*member)) {
    co_return fail(StatusCode::busy, "another process serves under this server id");
  }
  if (member != nullptr && record.addresses.empty()) record.addresses = member->record.addresses;
  if (!same_process || record != member->record) {
    GroupRecord group = group_;
    if (group.epoch == 0) {
      // The first numbers come from the clock, so that metadata restored from a backup, which has
      // no groups, begins above those that servers and clients have seen.
      group.epoch = group.map_version = loop_.clock().wall_us() / 1'000'000;
    }
    if (!same_process) ++group.epoch;
    ++group.map_version;
    if (member == nullptr) group.members.push_back(record.server_id);
    admitting_ = true;
    const Status saved = co_await save(record, group);
    admitting_ = false;
    if (!saved.ok()) co_return fail(saved.with("register server"));
    group_ = std::move(group);
  }
  if (member == nullptr) member = members_.emplace_back(std::make_unique<Member>()).get();
  member->record = std::move(record);
  if (member->connection != connection && member->connected()) {
    member->connection->close(Status(StatusCode::unavailable, "the server registered anew"));
  }
  if (member->connection != connection) owe(*member);
  connection->server_id = member->record.server_id;
  member->connection = std::move(connection);
  co_return member;
}

Task<Status> Membership::save(ServerRecord record, GroupRecord group) {
  auto transaction = store_.begin();
  const std::string key = server_key(record.server_id);
  transaction->put(key, encode(record, key));
  const std::string group_name = group_key(group.group);
  transaction->put(group_name, encode(group, group_name));
  co_return co_await transaction->commit();
}

void Membership::disconnected(const Connection& connection) {
  for (const auto& member : members_) {
    if (member->connection.get() != &connection) continue;
    GD2FS_LOG_WARN("server {} is disconnected", member->record.server_id);
    member->connection.reset();
  }
}

uint32_t Membership::renew_lease(Member& member) {
  if (member.owed) return 0;
  member.lease_until_ns = loop_.now_ns() + options_.lease_ns + options_.lease_margin_ns;
  return static_cast<uint32_t>(options_.lease_ns / kMs);
}

}  // namespace gd2fs::controller
