// LocalTree: the files below a local directory, as `put` sees them.
//
// Links to files are followed (a model from the hub is a directory of links); links to directories
// are not, since they may lead in circles: they are an error that says so, like sockets and
// devices. Parts and manifests of earlier copies are left out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace gd2fs::cli {

inline constexpr size_t kLocalFilesMax = 10'000'000;

struct LocalEntry {
  std::string name;  // relative to the top; "" for the top itself if it is a file
  uint64_t size_bytes = 0;
  bool directory = false;
};

// Directories come before what is in them; sorted by name.
Result<std::vector<LocalEntry>> list_local(const std::string& path);

}  // namespace gd2fs::cli
