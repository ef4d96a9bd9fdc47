// set_policy, rotate_token, drop_previous_token: changes of a cluster's record.
#include <cerrno>

#include "meta/clusters.h"
#include "meta/inode_ranges.h"
#include "meta/keys.h"
#include "meta/namespace.h"
#include "meta/namespace_core.h"
#include "meta/usage.h"
#include "meta/walk.h"

namespace gd2fs {

namespace {

class ChangeCluster : public Mutation {
 public:
  ChangeCluster(OperationCode operation, const std::string& name)
      : Mutation(operation, 0), name_(name) {
    add_argument(name);
  }

  Task<Status> attempt(MetaTransaction& tx) override {
    GD2FS_CO_ASSIGN(const uint16_t id, co_await find_cluster_id(tx, name_));
    GD2FS_CO_ASSIGN(ClusterRecord record, co_await read_cluster(tx, id));
    GD2FS_CO_TRY(co_await change(tx, record.cluster));
    const std::string key = cluster_key(id);
    tx.put(key, record.encode(key));
    answer.info.inode = root_inode(id);
    co_return Status();
  }

 protected:
  virtual Task<Status> change(MetaTransaction& tx, Cluster& cluster) = 0;

 private:
  const std::string& name_;
};

class SetPolicy final : public ChangeCluster {
 public:
  SetPolicy(const std::string& name, const ClusterPolicy& policy)
      : ChangeCluster(OperationCode::set_policy, name), policy_(policy) {
    add_argument(uint64_t{policy.chunk_log2});
    add_argument(policy.quota_bytes);
    add_argument(uint64_t{static_cast<uint8_t>(policy.durability)});
  }

 protected:
  Task<Status> change(MetaTransaction& tx, Cluster& cluster) override {
    cluster.policy = policy_;
    if (policy_.quota_bytes == 0) co_return Status();
    co_return co_await deal_quota(tx, cluster.id, policy_.quota_bytes);
  }

 private:
  const ClusterPolicy& policy_;
};

class RotateToken final : public ChangeCluster {
 public:
  RotateToken(const std::string& name, const std::string& token)
      : ChangeCluster(OperationCode::rotate_token, name), token_(token) {}

 protected:
  Task<Status> change(MetaTransaction&, Cluster& cluster) override {
    cluster.previous_token = std::exchange(cluster.token, token_);
    co_return Status();
  }

 private:
  const std::string& token_;  // no argument: a retrying controller draws another one
};

class DropPreviousToken final : public ChangeCluster {
 public:
  explicit DropPreviousToken(const std::string& name)
      : ChangeCluster(OperationCode::drop_previous_token, name) {}

 protected:
  Task<Status> change(MetaTransaction&, Cluster& cluster) override {
    cluster.previous_token.clear();
    co_return Status();
  }
};

}  // namespace

Task<Result<Cluster>> Namespace::set_policy(std::string name, ClusterPolicy policy,
                                            MutationTag tag) {
  GD2FS_CO_TRY(check_policy(policy));
  SetPolicy operation(name, policy);
  GD2FS_CO_TRY(co_await core_->run(operation, tag));
  co_return co_await get_cluster(cluster_of_inode(operation.answer.info.inode));
}

Task<Result<Cluster>> Namespace::rotate_token(std::string name, std::string token,
                                              MutationTag tag) {
  if (token.size() > kTokenMaxBytes) co_return fail(StatusCode::invalid, "token too long", EINVAL);
  RotateToken operation(name, token);
  GD2FS_CO_TRY(co_await core_->run(operation, tag));
  co_return co_await get_cluster(cluster_of_inode(operation.answer.info.inode));
}

Task<Status> Namespace::drop_previous_token(std::string name, MutationTag tag) {
  DropPreviousToken operation(name);
  co_return co_await core_->run(operation, tag);
}

}  // namespace gd2fs
