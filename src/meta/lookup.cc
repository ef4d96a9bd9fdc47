// lookup, stat_inode, path_of: reading one name or inode.
#include <cerrno>

#include "meta/inode_ranges.h"
#include "meta/namespace.h"
#include "meta/namespace_core.h"
#include "meta/read_again.h"
#include "meta/walk.h"

namespace gd2fs {

namespace {

// More directories above a file than any sequence of mkdir and rename makes in earnest.
constexpr int kDepthMax = 100000;

Task<Result<InodeInfo>> look(MetaTransaction& tx, uint16_t cluster, const Path& path) {
  GD2FS_CO_ASSIGN(const ClusterRecord record, co_await read_cluster(tx, cluster));
  GD2FS_CO_ASSIGN(const DentryRecord dentry, co_await walk_to(tx, cluster, path));
  GD2FS_CO_ASSIGN(const InodeRecord inode, co_await read_named_inode(tx, dentry.inode));
  GD2FS_CO_TRY(check_not_held(inode, path));
  co_return info_of(dentry.inode, inode, record.cluster.namespace_epoch);
}

Task<Result<InodeInfo>> look_at_inode(MetaTransaction& tx, uint64_t inode) {
  GD2FS_CO_ASSIGN(const ClusterRecord cluster, co_await read_cluster(tx, cluster_of_inode(inode)));
  GD2FS_CO_ASSIGN(const auto record, co_await read_inode(tx, inode));
  if (!record) {
    co_return fail(StatusCode::not_found, "no inode " + std::to_string(inode), ENOENT);
  }
  co_return info_of(inode, *record, cluster.cluster.namespace_epoch);
}

Task<Result<std::string>> climb(MetaTransaction& tx, uint64_t inode) {
  const uint16_t cluster = cluster_of_inode(inode);
  GD2FS_CO_ASSIGN(const ClusterRecord record, co_await read_cluster(tx, cluster));
  std::string path;
  int depth = 0;
  while (inode != root_inode(cluster)) {
    GD2FS_CO_ASSIGN(const auto at, co_await read_inode(tx, inode));
    if (!at) co_return fail(StatusCode::not_found, "no inode " + std::to_string(inode), ENOENT);
    path.insert(0, "/" + at->name);
    if (++depth > kDepthMax) {
      co_return fail(StatusCode::corrupt, "the parents of an inode lead nowhere");
    }
    inode = at->parent;
  }
  co_return record.cluster.name + ":" + (path.empty() ? "/" : path);
}

}  // namespace

Task<Result<InodeInfo>> Namespace::lookup(uint16_t cluster, std::string path) {
  Path parsed;
  GD2FS_CO_TRY(parsed.parse(std::move(path), PathKind::any));
  co_return co_await read_again(core_->store,
                                [&](MetaTransaction& tx) { return look(tx, cluster, parsed); });
}

Task<Result<InodeInfo>> Namespace::stat_inode(uint64_t inode) {
  co_return co_await read_again(core_->store,
                                [&](MetaTransaction& tx) { return look_at_inode(tx, inode); });
}

Task<Result<std::string>> Namespace::path_of(uint64_t inode) {
  co_return co_await read_again(core_->store,
                                [&](MetaTransaction& tx) { return climb(tx, inode); });
}

}  // namespace gd2fs
