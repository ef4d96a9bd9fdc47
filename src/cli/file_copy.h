// FileCopy: one thread's machine for moving one file after another (see copy.h).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cli/copy.h"
#include "cli/manifest.h"

namespace gd2fs::cli {

class FileCopy {
 public:
  FileCopy(Files& files, const CopyOptions& options, Progress& progress);
  ~FileCopy();
  FileCopy(const FileCopy&) = delete;
  FileCopy& operator=(const FileCopy&) = delete;

  // Fills in the job's hash and bytes.
  Status run(CopyJob& job);

 private:
  struct Slot {
    Bytes memory;
    bool busy = false;
    Status status;       // of the request that ended here
    uint64_t value = 0;  // bytes it moved
  };
  using Sink = std::function<Status(ConstBytes bytes, uint64_t offset)>;

  Status prepare();
  Status put(CopyJob& job);
  Status put_bytes(CopyJob& job, int fd, const std::string& remote);
  Status get(CopyJob& job);
  // Reads the whole remote file in order into `sink`.
  Status read_all(CopyJob& job, const Sink& sink);
  Status start_read(const CopyJob& job, size_t slot, uint64_t offset, uint64_t length);
  Status check_hash(const CopyJob& job) const;
  Status transfer(uint16_t opcode, size_t slot, const std::string& path, uint64_t offset,
                  uint64_t length);
  Status wait_one();
  // Waits until no slot is busy; the first failure among them.
  Status drain();

  Files& files_;
  const CopyOptions options_;
  Progress& progress_;
  std::unique_ptr<std::byte[], void (*)(std::byte*)> memory_;
  xfer_gd2fs_iomem* iomem_ = nullptr;
  std::unique_ptr<Files::Lane> lane_;
  std::vector<Slot> slots_;
};

}  // namespace gd2fs::cli
