// Handles: which files this connection's server knows by which 32-bit handle.
//
// A capability is sent once per connection and file, right in front of the first request that uses
// it; over handles_max the longest unused number is given to another file. Belongs to one session.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "base/list.h"

namespace gd2fs::client {

class Handles {
 public:
  static constexpr uint32_t kHandlesMax = 8192;  // below what a server keeps per session

  struct Use {
    uint32_t handle = 0;
    bool bind = false;  // the capability must be sent first
  };
  // `capability_number` names the capability that the caller has for the inode; another number than
  // last time is bound anew.
  Use use(uint64_t inode, uint64_t capability_number);
  // The server did not know the handle: bind again next time.
  void forget(uint64_t inode);
  void clear();

 private:
  struct Entry : ListNode<> {
    uint64_t inode = 0;
    uint64_t capability_number = 0;
    uint32_t handle = 0;
  };
  Entry& entry_of(uint64_t inode);

  std::unordered_map<uint64_t, Entry> by_inode_;
  List<Entry> by_use_;     // longest unused first
  Entry* last_ = nullptr;  // its last one, which is never the one to be dropped
  uint32_t last_handle_ = 0;
};

}  // namespace gd2fs::client
