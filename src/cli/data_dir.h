// DataDir: the directory of a deployment on one machine: who it is, who uses it, its secrets.
//
//   DIR/lock            held (flock) while a process runs on it; the second one is refused
//   DIR/deployment      version of the format and the deployment's id
//   DIR/secret          proves membership of the deployment, 0600
//   DIR/tokens/CLUSTER  proves the right to use a cluster, 0600
//   DIR/meta/ DIR/drive/  the controller's names, the server's chunks
//
// Blocking calls, for start-up. The `deployment` file:
//   gd2fs data directory
//   version 1
//   deployment 0123456789abcdef
#pragma once

#include <cstdint>
#include <string>

#include "base/descriptor.h"
#include "base/status.h"

namespace gd2fs::cli {

inline constexpr uint32_t kDataDirVersion = 1;

class DataDir {
 public:
  // Makes what is missing, also the directory itself (0700). busy: another process has it;
  // unsupported: a newer version wrote it; corrupt: the deployment file is damaged, or missing
  // where there are data; denied: others may write to it.
  static Result<DataDir> open(const std::string& path, uint64_t new_deployment_id);

  const std::string& path() const { return path_; }
  uint64_t deployment_id() const { return deployment_id_; }
  bool is_new() const { return is_new_; }
  std::string secret_path() const { return path_ + "/secret"; }
  std::string token_path(const std::string& cluster) const { return path_ + "/tokens/" + cluster; }
  std::string meta_path() const { return path_ + "/meta"; }
  std::string drive_path() const { return path_ + "/drive"; }

 private:
  DataDir(std::string path, Descriptor lock) : path_(std::move(path)), lock_(std::move(lock)) {}
  Status load_or_make(uint64_t new_deployment_id);

  std::string path_;
  Descriptor lock_;
  uint64_t deployment_id_ = 0;
  bool is_new_ = false;
};

// The deployment file's text, and back.
std::string write_deployment(uint64_t deployment_id);
Result<uint64_t> read_deployment(std::string_view text);

// Writes `text` to a file of mode 0600 and makes it durable; replaces what is there, atomically.
Status write_private_file(const std::string& path, std::string_view text);
// ok if it is there already.
Status make_private_directory(const std::string& path);
// ~/.config/gd2fs; "" if there is no HOME.
std::string user_config_directory();

}  // namespace gd2fs::cli
