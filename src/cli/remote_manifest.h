// RemoteManifest: the manifest of a directory in the cluster, for get and verify.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cli/files.h"
#include "cli/manifest.h"

namespace gd2fs::cli {

class RemoteManifest {
 public:
  // The manifest in `directory`; one that is not there is empty (there() is false).
  static Result<RemoteManifest> find(Files& files, const std::string& directory);

  bool there() const { return there_; }
  // "" if the file is not in it.
  std::string sha256_of(const std::string& name) const;
  // corrupt, naming the first, if a file of the manifest is not in the tree.
  Status check_complete(const std::string& directory, const std::vector<TreeEntry>& tree) const;
  const std::map<std::string, std::string>& files() const { return hashes_; }  // name -> hash

 private:
  bool there_ = false;
  std::map<std::string, std::string> hashes_;
};

}  // namespace gd2fs::cli
