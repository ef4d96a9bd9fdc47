#include "controller/clusters.h"

#include "wire/token.h"

namespace gd2fs::controller {

std::string secret_of_token(const std::string& token) {
  auto key = key_from_token(token);
  return key.has_value() ? *std::move(key) : token;
}

Task<Status> Clusters::reload() {
  const uint64_t number = ++reloads_begun_;
  GD2FS_CO_ASSIGN(const std::vector<Cluster> list, co_await names_.list_clusters());
  if (number < reload_kept_) co_return Status();
  reload_kept_ = number;
  by_name_.clear();
  for (const Cluster& cluster : list) by_name_.emplace(cluster.name, cluster);
  co_return Status();
}

const Cluster* Clusters::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &found->second;
}

const Cluster* Clusters::find(uint16_t id) const {
  for (const auto& [name, cluster] : by_name_) {
    if (cluster.id == id) return &cluster;
  }
  return nullptr;
}

std::vector<std::string> Clusters::keys(std::string_view name) const {
  std::vector<std::string> keys;
  const Cluster* cluster = find(name);
  if (cluster == nullptr) return keys;
  keys.push_back(secret_of_token(cluster->token));
  if (!cluster->previous_token.empty()) keys.push_back(secret_of_token(cluster->previous_token));
  return keys;
}

void Clusters::fill(msg::ClusterKeysT& keys) const {
  for (const auto& [name, cluster] : by_name_) {
    auto& key = keys.keys.emplace_back(std::make_unique<msg::ClusterKeyT>());
    key->cluster_id = cluster.id;
    key->name = name;
    key->namespace_epoch = cluster.namespace_epoch;
    key->durability_memory = cluster.policy.durability == Durability::memory;
    const std::vector<std::string> secrets = this->keys(name);
    key->current.assign(secrets[0].begin(), secrets[0].end());
    if (secrets.size() > 1) key->previous.assign(secrets[1].begin(), secrets[1].end());
  }
}

}  // namespace gd2fs::controller
