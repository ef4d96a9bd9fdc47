// A look at a database's write-ahead log before SQLite opens it. SQLite takes the log up to the
// first frame that does not fit its chain of checksums and forgets the rest, whatever the rest is:
// a byte that flipped in the middle takes back transactions that were committed, and a log that was
// deleted takes back all that was in it, without a word. This tells.
//
// Format: https://sqlite.org/fileformat2.html#walformat. Blocks; any thread that may use the disk.
#pragma once

#include <string>

#include "base/bytes.h"
#include "disk/disk.h"

namespace gd2fs {

enum class LogCondition : uint8_t {
  missing,  // no such file
  whole,    // empty, or frames up to where a write may have been cut short
  damaged,  // frames of this log lie behind one that does not fit
};
// The log of database `name`, which is not open.
Result<LogCondition> check_database_log(Disk& disk, const std::string& name);
// The same of a log's bytes.
LogCondition check_log_bytes(ConstBytes log);

}  // namespace gd2fs
