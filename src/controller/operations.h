// The controller's operations: what clients, data servers and administrators ask, a coroutine and a
// file each. An operation gets the asker's connection and its opened request by value, and answers
// the reply's body or the failure. docs/protocol.md has the rules.
#pragma once

#include <memory>
#include <vector>

#include "controller/connection.h"
#include "loop/task.h"
#include "meta/namespace.h"
#include "wire/message.h"

namespace gd2fs::controller {

class Controller;

struct Asker {
  Controller* controller = nullptr;
  std::shared_ptr<Connection> connection;
  uint16_t cluster_id() const { return connection->cluster_id(); }
};
using Answer = Result<std::vector<std::byte>>;

// --- names (clients) ---
Task<Answer> lookup_op(Asker asker, msg::LookupT request);
Task<Answer> create_op(Asker asker, msg::CreateT request);
Task<Answer> mkdir_op(Asker asker, msg::MkdirT request);
Task<Answer> rmdir_op(Asker asker, msg::RmdirT request);
Task<Answer> unlink_op(Asker asker, msg::UnlinkT request);
Task<Answer> rename_op(Asker asker, msg::RenameT request);
Task<Answer> truncate_op(Asker asker, msg::TruncateT request);
Task<Answer> setattr_op(Asker asker, msg::SetattrT request);
Task<Answer> readdir_op(Asker asker, msg::ReaddirT request);
Task<Answer> usage_op(Asker asker, msg::UsageT request);
Task<Answer> reserve_op(Asker asker, msg::ReserveT request);
Task<Answer> set_size_op(Asker asker, msg::SetSizeT request);
Task<Answer> evict_op(Asker asker, msg::EvictT request);  // administrators: everything
Task<Answer> cluster_map_op(Asker asker, msg::ClusterMapT request);

// --- clusters and the deployment (administrators) ---
Task<Answer> cluster_create_op(Asker asker, msg::ClusterCreateT request);
Task<Answer> cluster_list_op(Asker asker, msg::ClusterListT request);
Task<Answer> cluster_remove_op(Asker asker, msg::ClusterRemoveT request);
Task<Answer> cluster_policy_op(Asker asker, msg::ClusterPolicySetT request);
Task<Answer> token_rotate_op(Asker asker, msg::TokenRotateT request);
Task<Answer> deployment_status_op(Asker asker, msg::DeploymentStatusT request);
Task<Answer> scrub_op(Asker asker, msg::ScrubT request);
Task<Answer> dump_op(Asker asker, msg::MetaDumpT request);
Task<Answer> load_op(Asker asker, msg::MetaLoadT request);

// --- data servers ---
Task<Answer> register_server_op(Asker asker, msg::RegisterServerT request);
Task<Answer> heartbeat_op(Asker asker, msg::HeartbeatT request);

// --- what several of them need ---
// invalid if the request carries no tag.
Result<MutationTag> tag_of(const std::unique_ptr<msg::Tag>& tag);
std::vector<std::byte> done_body();
// With a fresh capability if it is a file.
std::unique_ptr<msg::FileInfoT> file_info(Controller& controller, const InodeInfo& info,
                                          bool may_write);
std::unique_ptr<msg::ClusterInfoT> cluster_info(const Cluster& cluster, const ClusterUsage& usage);
std::unique_ptr<msg::ClusterPolicyT> policy_body(const ClusterPolicy& policy);
// The policy of a request over the one that holds; what the request leaves out stays.
Result<ClusterPolicy> policy_of(const msg::ClusterPolicyT* request, ClusterPolicy policy);

}  // namespace gd2fs::controller
