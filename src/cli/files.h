// Files: a cluster's files as the verbs see them, over the C ABI, with calls that wait.
//
// Failures name the path. One Files may be used by several threads: each call waits on a completion
// queue of its own (a Lane); transfers use a Lane directly. See copy.h for those.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <xfer/gd2fs.h>

#include "base/bytes.h"
#include "base/status.h"
#include "cli/config.h"

namespace gd2fs::cli {

struct FileStat {
  uint64_t size_bytes = 0;
  uint64_t inode = 0;
  uint64_t generation = 0;
  uint64_t chunk_bytes = 0;
  uint64_t mtime_us = 0;
  uint64_t ctime_us = 0;
  bool directory = false;
  bool pinned = false;
};

struct FileEntry {
  std::string name;
  uint64_t size_bytes = 0;
  uint64_t mtime_us = 0;
  uint64_t inode = 0;
  bool directory = false;
};

class Files {
 public:
  // A completion queue; one thread. Ends all its requests when destroyed.
  class Lane {
   public:
    explicit Lane(Files& files);
    ~Lane();
    Lane(const Lane&) = delete;
    Lane& operator=(const Lane&) = delete;
    // Queues an operation; `number` comes back from wait().
    Status submit(xfer_gd2fs_op op, uint64_t number, const std::string& path);
    struct Ended {
      uint64_t number = 0;
      uint64_t value = 0;
      Status status;  // without a path
    };
    Result<Ended> wait();

   private:
    Files& files_;
    xfer_gd2fs_cq* queue_;
  };

  static Result<std::unique_ptr<Files>> connect(const Config& config);
  ~Files();
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;

  Result<FileStat> stat(const std::string& path);
  Status create(const std::string& path, uint64_t size_bytes);
  Status mkdir(const std::string& path);
  Status rmdir(const std::string& path);
  Status unlink(const std::string& path);
  Status rename(const std::string& from, const std::string& to);
  // What the servers have in memory of the file: XFER_GD2FS_ADVICE_* on all of it; its value.
  Result<uint64_t> advise(const std::string& path, uint16_t advice);
  Status set_pinned(const std::string& path, bool pinned);
  // All entries of a directory in order of their names.
  Result<std::vector<FileEntry>> list(const std::string& path);
  // Makes the directory and those above it where they are missing.
  Status mkdir_all(const std::string& path);
  // A whole small file; invalid if it is larger than bytes_max.
  Result<std::string> read_small(const std::string& path, size_t bytes_max);
  // Replaces the file atomically: written under a temporary name, then renamed.
  Status write_small(const std::string& path, std::string_view text);

  // Registered memory for transfers.
  Result<xfer_gd2fs_iomem*> register_memory(Bytes memory);
  void forget_memory(xfer_gd2fs_iomem* iomem);

 private:
  Files() = default;
  Result<uint64_t> call(xfer_gd2fs_op op, const std::string& path);
  Status finish(xfer_gd2fs_op op, const std::string& path);
  xfer_gd2fs_ctx* ctx_ = nullptr;
};

// Every file below `path` (or the file itself), with paths relative to it ("" for the file itself),
// directories before what is in them.
struct TreeEntry {
  std::string name;
  FileEntry entry;
};
Result<std::vector<TreeEntry>> list_tree(Files& files, const std::string& path);

// "/a/b" + "c" -> "/a/b/c".
std::string join_path(const std::string& directory, std::string_view name);
// The last component; the folder above ("/" at the top).
std::string base_name(const std::string& path);
std::string parent_path(const std::string& path);
// What a person typed, in plain form: without trailing and doubled slashes; invalid if it does not
// begin with '/'. gd2fs://HOST/PATH?cluster=NAME is taken apart by the caller.
Result<std::string> plain_path(const std::string& typed);

}  // namespace gd2fs::cli
