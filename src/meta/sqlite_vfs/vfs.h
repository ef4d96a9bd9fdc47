// SqliteVfs: SQLite's door to files, made of a Disk, so that a database lives on the same real,
// faulty or simulated drive as everything else. One instance serves the files of one Database; it
// is registered with SQLite while it lives, under a name of its own, and never as the default.
//
// It relies on one connection with locking_mode=EXCLUSIVE: the write-ahead log then needs no shared
// memory, and one lock of the main file keeps other processes out. The first sync of each opened
// file also makes its name durable, because a process that was killed may have left a name that is
// visible and not durable. SQLite gets no clock and no randomness from here: constants and a
// counter, since nothing of ours asks SQL for the time or a random number.
//
// A write-ahead log is made longer than what is in it, by steps of zeros: a sync of a file that has
// grown also writes the file system's journal, which makes a commit a third slower. SQLite takes
// the zeros for the log's end, as it takes what an older log left there.
//
// Thread rule: the thread of its Database (a Worker).
#pragma once

#include <sqlite3.h>
#include <string>

#include "disk/disk.h"

namespace gd2fs {

class SqliteVfs {
 public:
  // A log grows by steps up to log_bytes_max, whether or not there is so much to write.
  SqliteVfs(Disk& disk, uint64_t log_bytes_max);
  ~SqliteVfs();
  SqliteVfs(const SqliteVfs&) = delete;
  SqliteVfs& operator=(const SqliteVfs&) = delete;

  const char* name() const { return name_.c_str(); }
  Disk& disk() { return disk_; }
  uint64_t log_bytes_max() const { return log_bytes_max_; }

  // What the disk answered to the last failed call; ok if none failed since the last clear_error().
  // SQLite's own result codes keep only "I/O error".
  const Status& error() const { return error_; }
  void clear_error() { error_ = Status(); }
  // Keeps the failure and answers the SQLite code: SQLITE_FULL where the disk is full.
  int failed(Status status, int sqlite_code);

 private:
  Disk& disk_;
  const uint64_t log_bytes_max_;
  std::string name_;
  sqlite3_vfs vfs_{};
  Status error_;
};

}  // namespace gd2fs
