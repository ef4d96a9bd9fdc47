// create_cluster: a new namespace with its root directory.
#include <cerrno>

#include "meta/clusters.h"
#include "meta/inode_ranges.h"
#include "meta/keys.h"
#include "meta/namespace.h"
#include "meta/namespace_core.h"
#include "meta/usage.h"
#include "meta/walk.h"
#include "wire/path.h"

namespace gd2fs {

namespace {

class CreateCluster final : public Mutation {
 public:
  CreateCluster(const std::string& name, const ClusterPolicy& policy, const std::string& token)
      : Mutation(OperationCode::create_cluster, 0), name_(name), policy_(policy), token_(token) {
    add_argument(name);  // not the token: a retrying controller draws another one
    add_argument(uint64_t{policy.chunk_log2});
    add_argument(policy.quota_bytes);
  }

  Task<Status> attempt(MetaTransaction& tx) override {
    const std::string name_key = cluster_name_key(name_);
    const std::string ids_key = counter_key(0);
    std::vector<std::string> keys = {name_key, ids_key};
    GD2FS_CO_ASSIGN(const auto values, co_await tx.get_many(std::move(keys)));
    if (values[0]) co_return Status(StatusCode::exists, "cluster " + name_, EEXIST);
    if (!values[1]) co_return Status(StatusCode::corrupt, "the cluster counter is missing");
    GD2FS_CO_ASSIGN(CounterRecord ids, CounterRecord::decode(ids_key, *values[1]));
    if (ids.next > Namespace::kClustersMax) {
      co_return Status(StatusCode::no_space, "clusters_max reached", ENOSPC);
    }
    ClusterRecord record;
    record.cluster = {.id = static_cast<uint16_t>(ids.next),
                      .name = name_,
                      .policy = policy_,
                      .token = token_,
                      .previous_token = "",
                      .namespace_epoch = 1,
                      .created_us = now_us()};
    ++ids.next;
    const uint16_t id = record.cluster.id;
    tx.put(ids_key, ids.encode(ids_key));
    tx.put(name_key, ClusterNameRecord{id}.encode(name_key));
    const std::string record_key = cluster_key(id);
    tx.put(record_key, record.encode(record_key));
    const std::string inodes_key = counter_key(id);
    tx.put(inodes_key, CounterRecord{kRootNumber + 1}.encode(inodes_key));
    InodeRecord root;
    root.type = FileType::directory;
    root.mtime_us = now_us();
    root.ctime_us = now_us();
    root.parent = root_inode(id);
    put_inode(tx, root_inode(id), root);
    answer.info = info_of(root_inode(id), root, record.cluster.namespace_epoch);
    if (policy_.quota_bytes == 0) co_return Status();
    co_return co_await deal_quota(tx, id, policy_.quota_bytes);
  }

 private:
  const std::string& name_;
  const ClusterPolicy& policy_;
  const std::string& token_;
};

}  // namespace

Task<Result<Cluster>> Namespace::create_cluster(std::string name, ClusterPolicy policy,
                                                std::string token, MutationTag tag) {
  GD2FS_CO_TRY(check_cluster_name(name));
  GD2FS_CO_TRY(check_policy(policy));
  if (token.size() > kTokenMaxBytes) co_return fail(StatusCode::invalid, "token too long", EINVAL);
  CreateCluster operation(name, policy, token);
  GD2FS_CO_TRY(co_await core_->run(operation, tag));
  co_return co_await get_cluster(cluster_of_inode(operation.answer.info.inode));
}

}  // namespace gd2fs
