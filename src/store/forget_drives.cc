#include "store/forget_drives.h"

#include "base/log.h"
#include "store/open_drive.h"

namespace gd2fs {
namespace {

Task<Status> record_on(StoreCore& core, DriveUnit& unit) {
  Drive* const drive = &unit.drive;
  Await raising;
  drive->run([drive] { return raise_version(*drive); }, raising.done());
  GD2FS_CO_TRY(co_await raising);
  std::vector<LogRecord> records;
  core.placement.records(&records);
  Await logging;
  drive->append_log(std::move(records), logging.done());
  const Status status = co_await logging;
  co_return status;
}

}  // namespace

// If power is lost half way, the drives that have the record tell the others at the next start.
Task<Status> forget_drives(StoreCore& core, std::vector<uint64_t> inode_ends) {
  const uint64_t below = core.versions.take_floor();
  for (const DriveUuid& uuid : core.to_forget) {
    core.placement.forget(uuid, below, inode_ends);
    GD2FS_LOG_WARN("drive {} is given up as lost", uuid.to_string());
  }
  core.to_forget.clear();
  size_t recorded = 0;
  for (const auto& unit : core.drives) {
    if (!unit->drive.serving()) continue;
    const Status status = co_await record_on(core, *unit);
    if (status.ok()) {
      ++recorded;
    } else {
      unit->drive.set_aside(status);
    }
  }
  if (recorded == 0)
    co_return Status(StatusCode::unavailable, "no drive could record what is lost");
  co_return Status();
}

}  // namespace gd2fs
