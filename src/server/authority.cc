#include "server/authority.h"

#include <algorithm>
#include <utility>

#include "wire/capability.h"
#include "wire/ids.h"

namespace gd2fs::server {
namespace {

std::string string_of(ConstBytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

void Authority::set_keys(const msg::ClusterKeys& keys) {
  std::map<uint16_t, ClusterEntry> clusters;
  if (keys.keys() != nullptr) {
    for (const msg::ClusterKey* key : *keys.keys()) {
      ClusterEntry& entry = clusters[key->cluster_id()];
      entry.name = text_of(key->name());
      entry.token = string_of(bytes_of(key->current()));
      entry.previous_token = string_of(bytes_of(key->previous()));
      entry.namespace_epoch = key->namespace_epoch();
      entry.durability_memory = key->durability_memory();
      const auto known = clusters_.find(key->cluster_id());
      if (known != clusters_.end()) {
        entry.namespace_epoch = std::max(entry.namespace_epoch, known->second.namespace_epoch);
      }
    }
  }
  clusters_ = std::move(clusters);
  capability_key_ = string_of(bytes_of(keys.capability_key()));
  previous_capability_key_ = string_of(bytes_of(keys.capability_key_previous()));
  if (std::exchange(refuses_older_keys_, false)) refused_key_ = previous_capability_key_;
  if (previous_capability_key_ == refused_key_) previous_capability_key_.clear();
}

void Authority::raise_namespace(uint16_t cluster_id, uint64_t epoch) {
  const auto found = clusters_.find(cluster_id);
  if (found == clusters_.end()) return;  // a cluster removed meanwhile
  found->second.namespace_epoch = std::max(found->second.namespace_epoch, epoch);
}

void Authority::set_groups(const flatbuffers::Vector<flatbuffers::Offset<msg::GroupInfo>>* groups) {
  if (groups == nullptr) return;
  for (const msg::GroupInfo* group : *groups) {
    uint64_t& epoch = group_epochs_[group->group()];
    epoch = std::max(epoch, group->epoch());
  }
}

std::vector<std::string> Authority::tokens(std::string_view cluster) const {
  std::vector<std::string> tokens;
  const auto found = clusters_.find(cluster_id(cluster));
  if (found == clusters_.end()) return tokens;
  if (!found->second.token.empty()) tokens.push_back(found->second.token);
  if (!found->second.previous_token.empty()) tokens.push_back(found->second.previous_token);
  return tokens;
}

uint16_t Authority::cluster_id(std::string_view cluster) const {
  for (const auto& [id, entry] : clusters_) {
    if (entry.name == cluster) return id;
  }
  return 0;
}

Result<Handle> Authority::open_capability(ConstBytes sealed, uint16_t cluster_id,
                                          uint64_t now_us) const {
  GD2FS_ASSIGN(const Capability capability,
               gd2fs::open_capability(sealed, capability_key_, previous_capability_key_));
  if (capability.cluster_id != cluster_id || cluster_of_inode(capability.inode) != cluster_id) {
    return fail(StatusCode::denied, "the capability is for another cluster");
  }
  if (capability.expiry_us <= now_us) return fail(StatusCode::stale, "the capability has expired");
  Handle handle;
  handle.inode = capability.inode;
  handle.generation = capability.generation;
  handle.expiry_us = capability.expiry_us;
  handle.chunk_log2 = capability.chunk_log2;
  handle.may_read = capability.may_read;
  handle.may_write = capability.may_write;
  handle.pinned = capability.pinned;
  return handle;
}

Status Authority::check_namespace(uint16_t cluster_id, uint64_t epoch) const {
  const auto found = clusters_.find(cluster_id);
  if (found == clusters_.end()) return {StatusCode::stale, "the cluster is gone"};
  if (epoch < found->second.namespace_epoch) {
    return {StatusCode::stale, "a directory was renamed since"};
  }
  return {};
}

Status Authority::check_group(uint32_t group, uint64_t epoch) const {
  const auto found = group_epochs_.find(group);
  if (found == group_epochs_.end()) return {StatusCode::stale, "not a member of this group"};
  if (epoch < found->second) return {StatusCode::stale, "the group's epoch is old"};
  if (epoch > found->second) {
    return {StatusCode::unavailable, "this server has yet to learn the group's epoch"};
  }
  return {};
}

}  // namespace gd2fs::server
