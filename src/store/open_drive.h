// Opening one drive: identity, lock, log, data files, index. Everything here blocks and runs on the
// drive's worker before the store serves; it fills the Drive, and the shared index in RAM (drives
// are opened one after another).
#pragma once

#include <map>

#include "store/store_core.h"

namespace gd2fs {

// What drive.log tells, summed up.
struct LogSummary {
  bool whole = false;  // there, undamaged, this drive's
  uint64_t epoch = 0;
  uint64_t watermark = 0;
  uint64_t transactions = 0;  // the index has at least these
  bool clean = false;
  uint64_t clean_transactions = 0;
  uint64_t clean_digest = 0;
  bool incomplete = false;
  std::vector<FenceRecord> fences;
  std::vector<TagRecord> tags;
  std::vector<DriveUuid> members;
  std::vector<std::pair<uint64_t, uint64_t>> overflows;
  bool scattered = false;
  struct Forgotten {
    uint64_t below = 0;
    std::vector<uint64_t> inode_ends;
  };
  std::map<DriveUuid, Forgotten> forgotten;
  std::vector<std::pair<uint8_t, uint32_t>> files;  // created and not removed
};
LogSummary sum_up_log(const LogContent& content, const DriveUuid& uuid);

struct OpenedDrive {
  Status status;        // not ok: the drive cannot be used now
  bool refuse = false;  // and the store must not open at all
  bool fresh = false;
  LogSummary log;
  bool rebuild = false;  // no index, or one that cannot be trusted
  std::string rebuild_why;
  IndexDb::Loaded loaded;
  uint64_t epoch = 0;  // the highest seen anywhere on the drive
  // That the log tells of and that were not there. Those that the start removes are not among them.
  std::vector<std::pair<uint8_t, uint32_t>> lost_files;
};

void open_drive(StoreCore& core, DriveUnit& unit, DriveUuid new_uuid, OpenedDrive& opened);
// After the store knows its epoch and this drive is ready to serve: it is no longer fresh.
Status finish_fresh_drive(Drive& drive, uint64_t deployment_id);
// Before its log tells of a forgotten drive: says in drive.id that it does. Blocks.
Status raise_version(Drive& drive);

}  // namespace gd2fs
