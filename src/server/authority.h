// Authority: what the controller has told this server about who may do what: the clusters with
// their tokens and namespace epochs, the keys that capabilities are signed with, the epochs of the
// groups it belongs to. Epochs only grow. Empty until the first registration. One loop.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "server/handle_table.h"
#include "wire/message.h"

namespace gd2fs::server {

class Authority {
 public:
  // All clusters there are (one that is no longer named is gone), and the capability keys.
  void set_keys(const msg::ClusterKeys& keys);
  // Capabilities signed with any key but the current one of the next set_keys() are stale from then
  // on.
  void refuse_older_keys() { refuses_older_keys_ = true; }
  // From a namespace fence.
  void raise_namespace(uint16_t cluster_id, uint64_t epoch);
  void set_groups(const flatbuffers::Vector<flatbuffers::Offset<msg::GroupInfo>>* groups);

  // The secrets that prove membership of a cluster, current first; empty if there is none such.
  std::vector<std::string> tokens(std::string_view cluster) const;
  // 0 if there is none such.
  uint16_t cluster_id(std::string_view cluster) const;
  // Writes are acknowledged from memory there.
  bool durability_memory(uint16_t cluster_id) const {
    const auto found = clusters_.find(cluster_id);
    return found != clusters_.end() && found->second.durability_memory;
  }
  bool has_cluster(uint16_t cluster_id) const { return clusters_.contains(cluster_id); }

  // denied: forged, or another cluster's; stale: expired, or signed with a key no longer known.
  Result<Handle> open_capability(ConstBytes capability, uint16_t cluster_id, uint64_t now_us) const;
  // stale: older than what the controller has acknowledged to somebody.
  Status check_namespace(uint16_t cluster_id, uint64_t epoch) const;
  // stale: another group or an older epoch; unavailable: newer than what this server knows.
  Status check_group(uint32_t group, uint64_t epoch) const;

 private:
  struct ClusterEntry {
    std::string name;
    std::string token;
    std::string previous_token;
    uint64_t namespace_epoch = 0;
    bool durability_memory = false;
  };
  std::map<uint16_t, ClusterEntry> clusters_;
  std::map<uint32_t, uint64_t> group_epochs_;
  std::string capability_key_;
  std::string previous_capability_key_;
  bool refuses_older_keys_ = false;
  std::string refused_key_;
};

}  // namespace gd2fs::server
