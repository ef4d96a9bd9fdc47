// list_clusters, find_cluster, get_cluster, usage: reading clusters.
#include "meta/clusters.h"

#include <cerrno>

#include "meta/keys.h"
#include "meta/namespace.h"
#include "meta/namespace_core.h"
#include "meta/read_again.h"
#include "meta/usage.h"
#include "meta/walk.h"

namespace gd2fs {

Task<Result<uint16_t>> find_cluster_id(MetaTransaction& tx, std::string_view name) {
  const std::string key = cluster_name_key(name);
  GD2FS_CO_ASSIGN(const auto value, co_await tx.get(key));
  if (!value) {
    co_return fail(StatusCode::not_found, "no cluster " + std::string(name), ENOENT);
  }
  GD2FS_CO_ASSIGN(const ClusterNameRecord record, ClusterNameRecord::decode(key, *value));
  co_return record.cluster;
}

Status check_policy(const ClusterPolicy& policy) {
  if (policy.chunk_log2 < kChunkLog2Min || policy.chunk_log2 > kChunkLog2Max) {
    return {StatusCode::invalid, "chunk size outside 64 KiB..64 MiB", EINVAL};
  }
  if (policy.quota_bytes > Namespace::kQuotaMaxBytes) {
    return {StatusCode::invalid, "quota over 4 EiB", EINVAL};
  }
  if (policy.durability > Durability::memory) {
    return {StatusCode::invalid, "unknown durability", EINVAL};
  }
  return {};
}

namespace {

Task<Result<Cluster>> read_one(MetaTransaction& tx, uint16_t id) {
  GD2FS_CO_ASSIGN(ClusterRecord record, co_await read_cluster(tx, id));
  co_return std::move(record.cluster);
}

Task<Result<Cluster>> read_named(MetaTransaction& tx, std::string_view name) {
  GD2FS_CO_ASSIGN(const uint16_t id, co_await find_cluster_id(tx, name));
  co_return co_await read_one(tx, id);
}

Task<Result<std::vector<Cluster>>> read_page(MetaTransaction& tx, std::string_view after) {
  GD2FS_CO_ASSIGN(const auto found,
                  co_await tx.scan(cluster_name_key(after) + '\0', table_end(kClusterNameTable),
                                   MetaTransaction::kScanMax));
  std::vector<Cluster> clusters;
  for (const KeyValue& kv : found) {
    GD2FS_CO_ASSIGN(const ClusterNameRecord record, ClusterNameRecord::decode(kv.key, kv.value));
    GD2FS_CO_ASSIGN(Cluster cluster, co_await read_one(tx, record.cluster));
    clusters.push_back(std::move(cluster));
  }
  co_return clusters;
}

Task<Result<ClusterUsage>> read_cluster_usage(MetaTransaction& tx, uint16_t cluster) {
  GD2FS_CO_ASSIGN([[maybe_unused]] const ClusterRecord there, co_await read_cluster(tx, cluster));
  co_return co_await read_usage(tx, cluster);
}

}  // namespace

Task<Result<std::vector<Cluster>>> Namespace::list_clusters() {
  std::vector<Cluster> all;
  for (;;) {
    const std::string after = all.empty() ? "" : all.back().name;
    GD2FS_CO_ASSIGN(auto page, co_await read_again(core_->store, [&](MetaTransaction& tx) {
                      return read_page(tx, after);
                    }));
    const bool last = page.size() < MetaTransaction::kScanMax;
    for (Cluster& cluster : page) all.push_back(std::move(cluster));
    if (last) co_return all;
  }
}

Task<Result<Cluster>> Namespace::find_cluster(std::string name) {
  co_return co_await read_again(core_->store,
                                [&](MetaTransaction& tx) { return read_named(tx, name); });
}

Task<Result<Cluster>> Namespace::get_cluster(uint16_t cluster) {
  co_return co_await read_again(core_->store,
                                [&](MetaTransaction& tx) { return read_one(tx, cluster); });
}

Task<Result<ClusterUsage>> Namespace::usage(uint16_t cluster) {
  co_return co_await read_again(
      core_->store, [&](MetaTransaction& tx) { return read_cluster_usage(tx, cluster); });
}

}  // namespace gd2fs
