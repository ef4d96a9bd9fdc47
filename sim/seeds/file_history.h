// FileHistory: the part of a history that is about one inode: what surely met it, and what may
// have. A request without an answer names only a path; it may have met every inode that was ever
// seen there, or came there by a rename. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "sim/seeds/history.h"

namespace gd2fs::sim {

struct FileHistory {
  uint64_t inode = 0;
  const Record* create = nullptr;      // the answered one, if there is
  std::vector<const Record*> surely;   // ok: read, write, truncate, stat, in order
  std::vector<const Record*> perhaps;  // write, truncate, create of unknown outcome

  // The records that name it, for messages.
  std::string tell() const;
};

// By inode; directories are left out.
std::map<uint64_t, FileHistory> file_histories(const History& history);

}  // namespace gd2fs::sim
