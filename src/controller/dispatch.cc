#include "controller/dispatch.h"

#include <array>

#include "controller/controller.h"

namespace gd2fs::controller {
namespace {

struct Operation {
  msg::Type type;
  PeerRole role;
  Result<Task<Answer>> (*start)(Asker asker, ConstBytes body);
};

template <class Table, Task<Answer> (*run)(Asker, typename Table::NativeTableType)>
Result<Task<Answer>> open_and_start(Asker asker, ConstBytes body) {
  const Table* table = open_body<Table>(body);
  if (table == nullptr) return fail(StatusCode::invalid, "malformed request");
  typename Table::NativeTableType request;
  table->UnPackTo(&request);
  return run(std::move(asker), std::move(request));
}

using enum msg::Type;
constexpr PeerRole kClient = PeerRole::client;
constexpr PeerRole kAdmin = PeerRole::admin;
constexpr PeerRole kServer = PeerRole::server;

constexpr std::array kOperations = {
    Operation{lookup, kClient, open_and_start<msg::Lookup, lookup_op>},
    Operation{create, kClient, open_and_start<msg::Create, create_op>},
    Operation{mkdir, kClient, open_and_start<msg::Mkdir, mkdir_op>},
    Operation{rmdir, kClient, open_and_start<msg::Rmdir, rmdir_op>},
    Operation{unlink, kClient, open_and_start<msg::Unlink, unlink_op>},
    Operation{rename, kClient, open_and_start<msg::Rename, rename_op>},
    Operation{truncate, kClient, open_and_start<msg::Truncate, truncate_op>},
    Operation{setattr, kClient, open_and_start<msg::Setattr, setattr_op>},
    Operation{readdir, kClient, open_and_start<msg::Readdir, readdir_op>},
    Operation{usage, kClient, open_and_start<msg::Usage, usage_op>},
    Operation{reserve, kClient, open_and_start<msg::Reserve, reserve_op>},
    Operation{set_size, kClient, open_and_start<msg::SetSize, set_size_op>},
    Operation{evict, kClient, open_and_start<msg::Evict, evict_op>},
    Operation{evict, kAdmin, open_and_start<msg::Evict, evict_op>},
    Operation{cluster_map, kClient, open_and_start<msg::ClusterMap, cluster_map_op>},
    Operation{cluster_map, kAdmin, open_and_start<msg::ClusterMap, cluster_map_op>},
    Operation{cluster_create, kAdmin, open_and_start<msg::ClusterCreate, cluster_create_op>},
    Operation{cluster_list, kAdmin, open_and_start<msg::ClusterList, cluster_list_op>},
    Operation{cluster_remove, kAdmin, open_and_start<msg::ClusterRemove, cluster_remove_op>},
    Operation{cluster_policy, kAdmin, open_and_start<msg::ClusterPolicySet, cluster_policy_op>},
    Operation{token_rotate, kAdmin, open_and_start<msg::TokenRotate, token_rotate_op>},
    Operation{deployment_status, kAdmin,
              open_and_start<msg::DeploymentStatus, deployment_status_op>},
    Operation{scrub, kAdmin, open_and_start<msg::Scrub, scrub_op>},
    Operation{meta_dump, kAdmin, open_and_start<msg::MetaDump, dump_op>},
    Operation{meta_load, kAdmin, open_and_start<msg::MetaLoad, load_op>},
    Operation{register_server, kServer, open_and_start<msg::RegisterServer, register_server_op>},
    Operation{heartbeat, kServer, open_and_start<msg::Heartbeat, heartbeat_op>},
};

}  // namespace

Result<Task<Answer>> start_operation(Asker asker, const Message& message) {
  const auto type = static_cast<msg::Type>(message.type);
  if (asker.controller->loading() && type != msg::Type::meta_load) {
    return fail(StatusCode::unavailable, "metadata is being loaded");
  }
  const PeerRole role = asker.connection->role();
  bool known = false;
  for (const Operation& operation : kOperations) {
    if (operation.type != type) continue;
    if (operation.role == role) return operation.start(std::move(asker), message.body);
    known = true;
  }
  if (known) return fail(StatusCode::denied, "this session's role may not ask for that");
  return fail(StatusCode::unsupported, "unknown operation");
}

}  // namespace gd2fs::controller
