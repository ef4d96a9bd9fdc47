// inode_ends: where each cluster's inode numbers end now.
#include "meta/namespace.h"
#include "meta/namespace_core.h"

namespace gd2fs {

Task<Result<std::vector<uint64_t>>> Namespace::inode_ends() {
  GD2FS_CO_ASSIGN(const std::vector<Cluster> clusters, co_await list_clusters());
  std::vector<uint64_t> ends;
  for (const Cluster& cluster : clusters) {
    const Result<uint64_t> end = co_await core_->inodes.end(cluster.id);
    if (!end && end.error().is(StatusCode::not_found)) continue;  // removed meanwhile
    if (!end) co_return fail(end.error());
    ends.push_back(*end);
  }
  co_return ends;
}

}  // namespace gd2fs
