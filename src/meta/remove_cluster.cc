// remove_cluster: an empty cluster goes; its id is never used again.
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

class RemoveCluster final : public Mutation {
 public:
  explicit RemoveCluster(const std::string& name)
      : Mutation(OperationCode::remove_cluster, 0), name_(name) {
    add_argument(name);
  }

  Task<Status> attempt(MetaTransaction& tx) override {
    GD2FS_CO_ASSIGN(const uint16_t id, co_await find_cluster_id(tx, name_));
    static_assert(Namespace::kClustersMax < UINT16_MAX);  // id + 1 is an id
    GD2FS_CO_ASSIGN(const auto intents,
                    co_await tx.scan(intent_key(inode_of(id, 0), 0),
                                     intent_key(inode_of(static_cast<uint16_t>(id + 1), 0), 0), 1));
    if (!intents.empty()) {
      co_return Status(StatusCode::busy, "servers still drop files of cluster " + name_, EBUSY);
    }
    GD2FS_CO_ASSIGN(const auto first, co_await tx.scan(dentry_key(root_inode(id), ""),
                                                       dentry_key(root_inode(id) + 1, ""), 1));
    if (!first.empty()) co_return Status(StatusCode::invalid, "cluster " + name_, ENOTEMPTY);
    tx.remove(cluster_name_key(name_));
    tx.remove(cluster_key(id));
    tx.remove(counter_key(id));
    tx.remove(inode_key(root_inode(id)));
    for (uint8_t shard = 0; shard < kUsageShards; ++shard) tx.remove(usage_key(id, shard));
    answer.info.inode = root_inode(id);
    co_return Status();
  }

 private:
  const std::string& name_;
};

}  // namespace

Task<Status> Namespace::remove_cluster(std::string name, MutationTag tag) {
  RemoveCluster operation(name);
  co_return co_await core_->run(operation, tag);
}

}  // namespace gd2fs
