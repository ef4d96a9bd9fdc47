// What several operations need to open requests and build answers.
#include "controller/controller.h"
#include "controller/operations.h"

namespace gd2fs::controller {

Result<MutationTag> tag_of(const std::unique_ptr<msg::Tag>& tag) {
  if (tag == nullptr) return fail(StatusCode::invalid, "a mutation without a tag");
  return MutationTag{tag->incarnation(), tag->sequence(), tag->low()};
}

std::vector<std::byte> done_body() {
  return pack_body(msg::DoneT{});
}

std::unique_ptr<msg::FileInfoT> file_info(Controller& controller, const InodeInfo& info,
                                          bool may_write) {
  auto out = std::make_unique<msg::FileInfoT>();
  out->inode = info.inode;
  out->generation = info.generation;
  out->size_bytes = info.size_bytes;
  out->type = static_cast<msg::FileType>(info.type);
  out->chunk_log2 = info.chunk_log2;
  out->mtime_us = info.mtime_us;
  out->ctime_us = info.ctime_us;
  out->reserved_bytes = info.reserved_bytes;
  out->namespace_epoch = info.namespace_epoch;
  out->map_version = controller.membership().map_version();
  out->pinned = info.pinned;
  if (info.type != FileType::file) return out;
  const uint64_t ttl_ns = controller.options().capability_ttl_ns;
  const uint64_t expiry_us = controller.loop().clock().wall_us() + ttl_ns / kUs;
  const SealedCapability sealed = controller.capability_keys().seal(info, may_write, expiry_us);
  const auto* bytes = reinterpret_cast<const uint8_t*>(sealed.data());
  out->capability.assign(bytes, bytes + sealed.size());
  out->capability_ttl_ms = static_cast<uint32_t>(ttl_ns / kMs);
  return out;
}

std::unique_ptr<msg::ClusterPolicyT> policy_body(const ClusterPolicy& policy) {
  auto out = std::make_unique<msg::ClusterPolicyT>();
  out->chunk_log2 = policy.chunk_log2;
  out->quota_bytes = policy.quota_bytes;
  out->durability = policy.durability == Durability::memory ? "memory" : "disk";
  return out;
}

std::unique_ptr<msg::ClusterInfoT> cluster_info(const Cluster& cluster, const ClusterUsage& usage) {
  auto out = std::make_unique<msg::ClusterInfoT>();
  out->name = cluster.name;
  out->cluster_id = cluster.id;
  out->policy = policy_body(cluster.policy);
  out->used_bytes = usage.reserved_bytes;
  out->files = usage.files;
  return out;
}

Result<ClusterPolicy> policy_of(const msg::ClusterPolicyT* request, ClusterPolicy policy) {
  if (request == nullptr) return policy;
  if (request->chunk_log2 != 0) policy.chunk_log2 = request->chunk_log2;
  policy.quota_bytes = request->quota_bytes;
  if (request->durability == "memory") {
    policy.durability = Durability::memory;
  } else if (request->durability == "disk") {
    policy.durability = Durability::disk;
  } else if (!request->durability.empty()) {
    return fail(StatusCode::invalid, "durability is \"disk\" or \"memory\"");
  }
  return policy;
}

}  // namespace gd2fs::controller
