// Clusters: the controller's list of clusters in memory, for what may not wait for the MetaStore:
// who may connect, and what data servers are told about keys. Read again after every change.
// One loop.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "loop/task.h"
#include "meta/namespace.h"
#include "wire/messages_generated.h"

namespace gd2fs::controller {

class Clusters {
 public:
  explicit Clusters(Namespace& names) : names_(names) {}

  // Reads the list again; what a reload that began later has read is never undone.
  Task<Status> reload();
  // Grows with each change of the list by this controller; whoever sends the list asks before and
  // after reading it.
  uint64_t version() const { return version_; }
  void changed() { ++version_; }

  const std::map<std::string, Cluster, std::less<>>& all() const { return by_name_; }
  const Cluster* find(std::string_view name) const;
  const Cluster* find(uint16_t id) const;
  // The secrets that prove membership, current first; empty if there is no such cluster.
  std::vector<std::string> keys(std::string_view name) const;
  // For data servers.
  void fill(msg::ClusterKeysT& keys) const;

 private:
  Namespace& names_;
  std::map<std::string, Cluster, std::less<>> by_name_;
  uint64_t version_ = 0;
  uint64_t reloads_begun_ = 0;
  uint64_t reload_kept_ = 0;
};

// The secret that a token's text stands for. A text that is no token (an old or a test's) is its
// own secret.
std::string secret_of_token(const std::string& token);

}  // namespace gd2fs::controller
