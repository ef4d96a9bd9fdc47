// ClusterMap: the servers of the deployment and which of them keep a group of chunks, as the
// controller last said. A plain value.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "wire/messages_generated.h"

namespace gd2fs::client {

struct ClusterMap {
  struct Group {
    uint64_t epoch = 0;
    std::vector<uint32_t> members;  // the first one is the primary
  };
  struct Server {
    uint64_t incarnation = 0;
    std::vector<std::string> addresses;
    bool alive = false;
  };

  uint64_t version = 0;
  uint64_t namespace_epoch = 0;
  std::vector<Group> groups;  // by group number
  std::map<uint32_t, Server> servers;
};

// io if the answer is not a usable map: no group, a group without members, an unknown member.
Result<ClusterMap> cluster_map_from(const msg::ClusterMapReply& reply);

}  // namespace gd2fs::client
