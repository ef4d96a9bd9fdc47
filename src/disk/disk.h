// Disk: the door to drives. Files of one directory (a drive, or the controller's data directory),
// with asynchronous O_DIRECT transfers for the data path and blocking calls for a Worker (SQLite,
// start-up, logs).
//
// Engines: UringDisk (io_uring), ThreadDisk (where io_uring is forbidden), SimDisk in sim/, which
// keeps what was not synced apart and, at a crash, drops, tears and reorders it. All behave alike:
//  - names are relative to the disk's directory, with '/' for folders that exist or are made by
//    make_dir; "..", absolute names and empty names are invalid.
//  - write() is durable only after a sync() *started after the write completed* has completed.
//    A new file's name is durable after sync_dir() of its folder.
//  - remove() and rename() are for files; a folder, or a file where a folder should be, is invalid.
//  - errors are Status: not_found, exists, no_space, io, timed_out is never produced here (the
//    store puts deadlines on drives).
//
// Destroying a disk waits for the transfers that run; those not completed by then never are. None
// should be pending: their buffers must live until then. A file outlives its transfers.
//
// Thread rules: submit() from the loop given at construction; the blocking calls from any one
// thread at a time per file (a Worker, or main() before the loop runs).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <sys/uio.h>

#include "base/bytes.h"
#include "base/status.h"
#include "loop/loop.h"

namespace gd2fs {

inline constexpr uint64_t kDiskAlignBytes = 4096;  // O_DIRECT offset, length and address

class DiskFile;  // an open file; engines derive theirs

// One transfer, owned by the caller until `done` completes. value = bytes moved; a read that meets
// the end of the file is short. A write is never short with an ok status.
struct DiskOp : ListNode<> {
  static constexpr int kIovMax = 4;
  enum class Kind : uint8_t { read, write, sync };  // sync = fdatasync
  Kind kind = Kind::read;
  DiskFile* file = nullptr;
  uint64_t offset_bytes = 0;  // multiples of kDiskAlignBytes, as are lengths and addresses
  iovec iov[kIovMax] = {};
  int iov_count = 0;
  Completion done;

  uint64_t length_bytes() const {
    uint64_t sum = 0;
    for (int i = 0; i < iov_count; ++i) sum += iov[i].iov_len;
    return sum;
  }
};

class DiskFile {
 public:
  virtual ~DiskFile() = default;  // closes; no transfer may be pending
  const std::string& name() const { return name_; }

  // --- blocking; any alignment; page-cached in the real engines ---
  // Bytes read: fewer than asked only at the end of the file.
  virtual Result<size_t> read_at(uint64_t offset_bytes, Bytes out) = 0;
  virtual Status write_at(uint64_t offset_bytes, ConstBytes data) = 0;
  virtual Status sync() = 0;  // fdatasync: data and size
  virtual Result<uint64_t> size_bytes() = 0;
  virtual Status truncate(uint64_t size_bytes) = 0;
  // Reserves disk space and extends the size; unwritten parts read as zeros. no_space if full.
  virtual Status allocate(uint64_t offset_bytes, uint64_t length_bytes) = 0;
  // Advisory exclusive lock on the whole file, held until closed; busy if another process has it.
  virtual Status try_lock() = 0;

 protected:
  explicit DiskFile(std::string name) : name_(std::move(name)) {}
  std::string name_;
};

enum class OpenMode : uint8_t {
  existing,    // read and write; not_found if it is not there
  create,      // read and write; made if it is not there
  create_new,  // exists if it is there
  read_only,
};
// Which transfers a file takes: direct files take submit() (and blocking calls that are aligned),
// cached files take the blocking calls only.
enum class OpenKind : uint8_t { cached, direct };

struct DiskSpace {
  uint64_t total_bytes = 0;
  uint64_t free_bytes = 0;
};

class Disk {
 public:
  virtual ~Disk() = default;
  virtual const std::string& path() const = 0;  // for messages
  virtual std::string_view engine() const = 0;  // "io_uring", "threads", "sim"

  // --- loop thread ---
  // ops_max transfers may be pending (kOpsMax); over it the op completes with busy.
  static constexpr size_t kOpsMax = 1024;
  virtual void submit(DiskOp& op) = 0;

  // --- blocking ---
  virtual Result<std::unique_ptr<DiskFile>> open(std::string_view name, OpenMode mode,
                                                 OpenKind kind) = 0;
  virtual Result<bool> exists(std::string_view name) = 0;
  virtual Status remove(std::string_view name) = 0;
  virtual Status rename(std::string_view from, std::string_view to) = 0;    // replaces `to`
  virtual Status make_dir(std::string_view name) = 0;                       // ok if it is there
  virtual Status sync_dir(std::string_view name) = 0;                       // "" = the top
  virtual Result<std::vector<std::string>> list(std::string_view dir) = 0;  // sorted plain names
  virtual Result<DiskSpace> space() = 0;
};

enum class DiskEngine : uint8_t { automatic, io_uring, threads };
// `directory` exists. automatic: io_uring if this process may use it, else threads, and the reason
// is logged once.
Result<std::unique_ptr<Disk>> open_disk(Loop& loop, std::string directory, DiskEngine engine);

// A page-aligned buffer for direct transfers.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t length_bytes);
  std::byte* data() { return data_.get(); }
  const std::byte* data() const { return data_.get(); }
  size_t size() const { return length_bytes_; }
  Bytes bytes() { return {data_.get(), length_bytes_}; }

 private:
  struct Free {
    void operator()(std::byte* p) const;
  };
  std::unique_ptr<std::byte[], Free> data_;
  size_t length_bytes_ = 0;
};

}  // namespace gd2fs
