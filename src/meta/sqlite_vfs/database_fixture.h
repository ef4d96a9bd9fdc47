// For tests: a process on a simulated drive, and a table of rows.
#pragma once

#include <map>
#include <string>

#include <gtest/gtest.h>

#include "meta/sqlite_vfs/database.h"
#include "sim/sim_disk.h"
#include "sim/sim_world.h"

namespace gd2fs {

using Rows = std::map<int64_t, std::string>;
inline constexpr std::string_view kSchema =
    "CREATE TABLE IF NOT EXISTS kv(k INTEGER PRIMARY KEY, v BLOB)";

// A process that has attached to the drive.
struct Process {
  SimClock clock;
  Loop loop{clock, Loop::Waits::never};
  SimDisk disk;
  explicit Process(SimDrive& drive) : disk(loop, drive) {}
};

inline Result<Rows> read_rows(Database& db) {
  GD2FS_ASSIGN(Statement all, db.prepare("SELECT k, v FROM kv"));
  Rows rows;
  for (;;) {
    GD2FS_ASSIGN(const bool row, all.step());
    if (!row) return rows;
    const ConstBytes v = all.column_bytes(1);
    rows[all.column_int(0)] = std::string(reinterpret_cast<const char*>(v.data()), v.size());
  }
}

}  // namespace gd2fs
