// Request: one operation as the user asked for it, and its result. Owned by whoever submits it,
// until `done` completes on the client's loop; by then no peer can touch the memory it names.
#pragma once

#include <string>
#include <vector>

#include "client/completion_status.h"
#include "client/memory_list.h"
#include "gpu/gpu.h"
#include "wire/ids.h"

namespace gd2fs::client {

class Operation;

// The numbers are XFER_GD2FS_OP_*.
enum class Op : uint8_t {
  read = 1,
  write = 2,
  stat = 3,
  create = 4,
  unlink = 5,
  rename = 6,
  mkdir = 7,
  rmdir = 8,
  truncate = 9,
  fsync = 10,
  readdir = 11,
  setattr = 12,
  advise = 13,
  view = 14,
};

// The numbers are XFER_GD2FS_ADVICE_*.
enum class Advice : uint8_t { prefetch = 1, query = 2, drop = 3 };

struct FileFacts {
  uint64_t size_bytes = 0;
  uint64_t inode = 0;
  uint64_t generation = 0;
  uint64_t chunk_bytes = 0;
  uint64_t mtime_us = 0;
  uint64_t ctime_us = 0;
  FileType type = FileType::none;
  bool pinned = false;
};

struct DirectoryEntry {
  std::string name;
  uint64_t size_bytes = 0;
  uint64_t mtime_us = 0;
  uint64_t inode = 0;
  FileType type = FileType::none;
};

struct Request {
  Op op = Op::read;
  std::string path;     // checked
  std::string other;    // rename: the new path, checked; readdir: the name to start after
  uint64_t offset = 0;  // read, write, advise
  MemoryList memory;    // read, write
  // read, write: what must have ended on the GPU before its memory is touched; nullptr: nothing
  std::unique_ptr<GpuFence> fence;
  uint64_t size_bytes = 0;   // create, truncate
  uint32_t entries_max = 0;  // readdir
  bool pin = false;          // setattr
  Advice advice = Advice::query;
  uint64_t advice_bytes = 0;  // from offset on; 0: to the end

  Completion done;
  // The result, when done has completed.
  Status status;
  Origin origin = Origin::none;
  uint64_t value = 0;  // bytes moved, entries filled, or bytes in the servers' memory
  FileFacts facts;     // stat, create, truncate; of read and write the inode only
  std::vector<DirectoryEntry> entries;
  // view: the bytes in the server's memory, in order and side by side; empty: they are in `memory`.
  std::vector<LentBytes> lent;

 private:
  friend class Client;
  Operation* operation_ = nullptr;
};

}  // namespace gd2fs::client
