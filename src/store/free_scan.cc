#include "store/free_scan.h"

#include <algorithm>

#include "base/log.h"

namespace gd2fs {

Task<Status> FreeScan::run() {
  std::vector<ScannedSlot> scanned;
  for (size_t file = 0; file < unit_.drive.slots.file_positions(); ++file) {
    for (std::vector<Slot>& portion :
         scan_portions(unit_.drive.slots, static_cast<uint16_t>(file), true)) {
      GD2FS_CO_TRY(co_await scan_slots(core_, unit_, std::move(portion), scanned));
      for (const ScannedSlot& slot : scanned) look_at(slot);
    }
  }
  if (unexplained_version_ <= watermark_) {
    stale_ = true;
    co_return Status();
  }
  if (!to_wipe_.empty()) {
    GD2FS_LOG_INFO("drive {}: wiping {} descriptors of before the stop", unit_.drive.path(),
                   to_wipe_.size());
  }
  const Status status = co_await wipe_slots(core_, unit_, std::move(to_wipe_));
  co_return status;
}

void FreeScan::look_at(const ScannedSlot& scanned) {
  if (scanned.readable && scanned.verdict == DescriptorVerdict::empty) return;
  to_wipe_.push_back(scanned.slot);
  if (!scanned.at_home) return;
  // What was settled then is settled now, also if the log's watermark did not come so far.
  watermark_ = std::max(watermark_, scanned.descriptor.settled_version);
  if (!explained(scanned.descriptor)) {
    unexplained_version_ = std::min(unexplained_version_, scanned.descriptor.version);
  }
}

// Whether each block of it shows something newer, or was cut away.
bool FreeScan::explained(const Descriptor& d) {
  const std::vector<Extent> extents = core_.extents_of(d.key);
  const uint64_t keep_bytes = core_.fences.keep_bytes_for(d.key.inode, d.version);
  const uint64_t chunk_at = uint64_t{d.key.chunk} << d.chunk_log2;
  for (const VisibleRun& run : visible_runs(extents, d.first_block, d.blocks)) {
    const bool newer = run.extent != VisibleRun::kHole &&
                       extents[static_cast<size_t>(run.extent)].version > d.version;
    if (!newer && chunk_at + uint64_t{run.first_block} * kBlockBytes < keep_bytes) return false;
  }
  return true;
}

}  // namespace gd2fs
