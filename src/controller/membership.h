// Membership: the data servers that hold this deployment's chunks: who they are (durable), whether
// they are connected, and until when they may serve.
//
// One group of one server for now: group 0. Its epoch grows, durably, with each new incarnation of
// a member, before that incarnation is given a lease. lease_until_ns is a time of *our* clock after
// which the server's lease, which counts from when the server asked, has surely ended. A controller
// that has just started does not know what the one before it granted: it lets a whole lease pass.
//
// `owed`: some fence was acknowledged without this server, or may have been; it gets no lease
// before it has caught up with all pending intents (fencing.h). One loop.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "controller/connection.h"
#include "controller/options.h"
#include "controller/records.h"
#include "loop/task.h"
#include "meta/meta_store.h"

namespace gd2fs::controller {

struct Member {
  ServerRecord record;
  std::shared_ptr<Connection> connection;  // null: not connected
  uint64_t lease_until_ns = 0;
  bool owed = true;
  uint64_t owed_changes = 0;  // so that a catch-up notices what was added behind it
  bool catching_up = false;
  uint32_t drives = 0;
  uint64_t total_bytes = 0;
  uint64_t free_bytes = 0;
  uint64_t used_bytes = 0;

  bool connected() const { return connection != nullptr && connection->open(); }
};

class Membership {
 public:
  Membership(Loop& loop, MetaStore& store, const ControllerOptions& options)
      : loop_(loop), store_(store), options_(options) {}

  Task<Status> open();

  const std::vector<std::unique_ptr<Member>>& members() const { return members_; }
  Member* find(uint32_t server_id);
  const GroupRecord& group() const { return group_; }
  uint64_t map_version() const { return group_.map_version; }

  // A server says who it is. Makes it a member or takes it back, durably. unsupported: there is one
  // server already; busy: another process has this id and may still serve, or one just registers.
  Task<Result<Member*>> admit(std::shared_ptr<Connection> connection, ServerRecord record);
  // The server of a closed connection.
  void disconnected(const Connection& connection);

  // Renews the lease, counted from now; answers its length in ms, 0 while the member is owed
  // something.
  uint32_t renew_lease(Member& member);
  bool lease_ended(const Member& member) const { return loop_.now_ns() >= member.lease_until_ns; }
  void owe(Member& member) {
    member.owed = true;
    ++member.owed_changes;
  }
  bool serving(const Member& member) const {
    return member.connected() && !lease_ended(member) && !member.record.addresses.empty();
  }

 private:
  Task<Status> save(ServerRecord record, GroupRecord group);

  Loop& loop_;
  MetaStore& store_;
  const ControllerOptions& options_;
  std::vector<std::unique_ptr<Member>> members_;  // by server_id
  GroupRecord group_;
  bool admitting_ = false;
};

}  // namespace gd2fs::controller
