// DriveLog: the file drive.log. Appends are durable when they return; a rewrite replaces the file
// whole. After a failed call the file's state is unknown, so every later call fails too and the
// drive is set aside.
//
// Everything blocks. Thread rule: the drive's worker, or start-up.
#pragma once

#include <atomic>
#include <memory>
#include <span>

#include "disk/disk.h"
#include "store/log_record.h"

namespace gd2fs {

class DriveLog {
 public:
  static constexpr std::string_view kName = "drive.log";
  static constexpr std::string_view kNewName = "drive.log.new";

  explicit DriveLog(Disk& disk) : disk_(disk) {}

  // What the file holds; not_found if there is none. Opens nothing for appending.
  Result<LogContent> load();
  // Replaces the file by one with these records (identity first), durably, and opens it.
  Status rewrite(std::span<const LogRecord> records);
  Status append(std::span<const LogRecord> records);
  uint64_t size_bytes() const { return end_bytes_; }  // any thread

 private:
  Status write_frames(DiskFile& file, std::span<const LogRecord> records, uint64_t* end_bytes);

  Disk& disk_;
  std::unique_ptr<DiskFile> file_;
  std::atomic<uint64_t> end_bytes_{0};
  uint64_t next_number_ = 1;
  Status failed_;
};

}  // namespace gd2fs
