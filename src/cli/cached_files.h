// CachedFiles: the files at or below a path, for the verbs that deal with what servers have of them
// in memory (`warmup`, `cache`).
#pragma once

#include <string>
#include <vector>

#include "cli/files.h"

namespace gd2fs::cli {

struct CachedFile {
  std::string path;
  uint64_t size_bytes = 0;
  uint64_t resident_bytes = 0;
  bool pinned = false;
};

// In order of their names; nothing is known yet of what is in memory.
Result<std::vector<CachedFile>> files_below(Files& files, const std::string& typed);
// Asks the servers, and the controller for the pin.
Status ask_residency(Files& files, CachedFile* file);

}  // namespace gd2fs::cli
