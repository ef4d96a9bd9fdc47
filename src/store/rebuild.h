// Rebuild: makes one drive's index anew from the descriptors in its slots. The newest version of
// each block wins; recorded cuts are carried out afterwards by the caller (a cut only ever takes
// away what is older than it, so the order does not matter).
//
// A write that was under way at a crash may have left a descriptor without its data, or half of
// one. What was settled when the watermark (or any younger descriptor) was written had all its data
// synced: if it does not match now it was damaged later, stays, and answers corrupt. What is newer
// and does not match was never acknowledged, and goes.
//
// Thread rule: the store's loop.
#pragma once

#include "store/open_drive.h"
#include "store/slot_scan.h"

namespace gd2fs {

class Rebuild {
 public:
  Rebuild(StoreCore& core, DriveUnit& unit, const LogSummary& log)
      : core_(core), unit_(unit), log_(log), watermark_(log.watermark) {}
  Task<Status> run();
  // A descriptor or a whole file is lost: what no extent covers is not known to be zeros.
  bool incomplete() const { return unit_.drive.incomplete; }

 private:
  // More extents than this in one chunk, and the shadowed ones go before the scan ends.
  static constexpr size_t kPruneAbove = 128;
  static constexpr size_t kRowsPerTransaction = 4096;

  Task<Status> scan_file(uint16_t file);
  Task<Status> judge(ScannedSlot scanned);
  void keep(const ScannedSlot& scanned);
  void prune(const ChunkKey& key);
  void prune_all();
  void take_tag(const SlotDescriptor& descriptor);
  Task<Status> write_rows();
  Task<Status> finish();

  StoreCore& core_;
  DriveUnit& unit_;
  const LogSummary& log_;
  uint64_t watermark_;
  IndexBatch batch_;
  std::vector<ScannedSlot> doubtful_;  // data or checksums do not match; the watermark will tell
  std::vector<Slot> to_wipe_;
  std::vector<LogRecord> tags_to_log_;
};

}  // namespace gd2fs
