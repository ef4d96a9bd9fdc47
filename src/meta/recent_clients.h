// RecentClients: the highest `low` each client has shown lately. A request below it was answered
// and can only be a late duplicate. Tag records already stop duplicates of what changed something;
// this also stops those of a lookup_or_create that changed nothing. Bounded: the client silent for
// longest is forgotten. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <unordered_map>

#include "wire/ids.h"

namespace gd2fs {

class RecentClients {
 public:
  static constexpr size_t kClientsMax = 16384;

  // False if the tag is from below its client's low.
  bool admit(const MutationTag& tag);

 private:
  struct Client {
    uint64_t low = 0;
    std::list<uint64_t>::iterator age;
  };
  std::unordered_map<uint64_t, Client> clients_;
  std::list<uint64_t> ages_;  // incarnations, the most recent first
};

}  // namespace gd2fs
