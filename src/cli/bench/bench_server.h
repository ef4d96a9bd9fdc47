// The server that a bench runs: `gd2fs up` in a process of its own on a fresh folder. Restarting it
// empties the slab, so that the next reads are misses.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "cli/bench/folder_janitor.h"

namespace gd2fs {

class BenchServer {
 public:
  static constexpr const char* kCluster = "bench";
  static constexpr const char* kMemoryCluster = "bench-memory";
  // Makes `folder`/gd2fs-bench-<pid>. Sets GD2FS_TOKEN_FILE for this process.
  static Result<BenchServer> start(std::string program, const std::string& folder,
                                   uint64_t slab_bytes);
  BenchServer(BenchServer&& other) noexcept;
  BenchServer& operator=(BenchServer&&) = delete;
  ~BenchServer();  // stops it and removes the folder

  // Adds a cluster of durability memory; its token's file. Its clients' threads take that from the
  // environment.
  Result<std::string> add_memory_cluster();
  Status restart();
  // Returns when it has done what earlier rows left it to do (the bytes of removed files are given
  // back behind everything else), or after kSettleSeconds.
  void rest() const;
  const std::string& address() const { return address_; }  // gd2fs://127.0.0.1:PORT
  const std::string& folder() const { return folder_; }
  int pid() const { return pid_; }

 private:
  BenchServer() = default;
  Status launch();
  void settle() const;
  Status stop();
  std::string program_;
  std::string folder_;
  std::string address_;
  uint64_t slab_bytes_ = 0;
  int pid_ = -1;
  FolderJanitor janitor_;
};

}  // namespace gd2fs
