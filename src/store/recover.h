// Recovery: from a set of directories to a store that may serve.
//
//   every drive: identity, lock, log, files, index        (open_drive.h, on its worker)
//   all drives together: store epoch, fences, members, tags
//   every drive: its log made anew; its index rebuilt by scan if there is none that can be trusted
//     (rebuild.h), or, after an unclean stop, descriptors in free slots wiped (free_scan.h), so
//     that what was never acknowledged cannot come back later
//   every recorded cut carried out once more
//   what is known of the places of chunks made anew, if all drives are here
//
// Thread rule: the store's loop.
#pragma once

#include "store/background.h"
#include "store/open_drive.h"

namespace gd2fs {

class Recovery {
 public:
  Recovery(StoreCore& core, std::vector<StoreDrive> drives);
  // ok: the core is ready to serve.
  Task<Status> run();

 private:
  Task<Status> open_all();
  Status take_stock();
  void turn_away_forgotten();
  void take_members();
  void distrust(const std::vector<Placement::Member>& members);
  Status take_what_to_forget();
  Task<Status> start_epoch();
  Task<Status> recover_drive(size_t index);
  Task<Status> take_index(size_t index);
  Task<Status> sync_files(DriveUnit& unit);
  Task<Status> rebuild_drive(size_t index);
  Task<Status> rewrite_log(size_t index, uint64_t watermark, uint64_t transactions);
  Task<Status> settle();
  Task<Status> redo_fences();
  void see_overflows();
  Task<void> keep_placement();
  std::vector<LogRecord> log_records(size_t index) const;
  void drop_shadowed();
  void set_aside(size_t index, const Status& why);
  size_t serving() const;

  StoreCore& core_;
  std::vector<StoreDrive> parts_;
  std::vector<OpenedDrive> opened_;
  std::string placement_logged_;  // its records, as the logs have them
};

}  // namespace gd2fs
