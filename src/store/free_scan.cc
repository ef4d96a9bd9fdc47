#include "store/free_scan.h"

#include <algorithm>
#include <map>

#include "base/log.h"

namespace gd2fs {

// Extents that are shadowed (by what was adopted, too) or cut away will be dropped. If their slots
// hold anything else now they have been dropped before, in a commit that is lost, and what came
// there after it was never in any index: a rebuild tells what of it is whole. Nobody else would
// look into these slots in time.
Task<Status> FreeScan::look_at_doomed() {
  std::vector<Slot> doomed;
  std::map<Slot, uint64_t> versions;
  std::vector<ChunkKey> keys;
  for (uint32_t shard = 0; shard < ChunkIndex::kShards; ++shard) {
    keys.clear();
    core_.index.keys_of_shard(shard, &keys);
    for (const ChunkKey& key : keys) {
      uint8_t chunk_log2 = 0;
      const std::vector<Extent> extents = core_.extents_of(key, &chunk_log2);
      if (extents.size() == 1 && !core_.fences.has_cuts(key.inode)) continue;
      std::vector<bool> shows(extents.size(), false);
      for (const VisibleRun& run : visible_runs(extents, 0, blocks_in_chunk(chunk_log2))) {
        if (run.extent == VisibleRun::kHole) continue;
        const auto at = static_cast<size_t>(run.extent);
        const uint64_t keep_bytes =
            core_.fences.keep_bytes_in_chunk(key, chunk_log2, extents[at].version);
        shows[at] = shows[at] || uint64_t{run.first_block} * kBlockBytes < keep_bytes;
      }
      for (size_t i = 0; i < extents.size(); ++i) {
        const Extent& extent = extents[i];
        const Slot slot{extent.at.file, extent.at.slot};
        if (shows[i] || extent.at.drive != unit_.drive.index()) continue;
        if (unit_.drive.file(slot.file) == nullptr) continue;
        doomed.push_back(slot);
        versions[slot] = extent.version;
      }
    }
  }
  std::vector<ScannedSlot> scanned;
  for (size_t at = 0; at < doomed.size(); at += kSlotsPerScan) {
    const size_t end = std::min(doomed.size(), at + kSlotsPerScan);
    std::vector<Slot> portion(doomed.begin() + static_cast<std::ptrdiff_t>(at),
                              doomed.begin() + static_cast<std::ptrdiff_t>(end));
    GD2FS_CO_TRY(co_await scan_slots(core_, unit_, std::move(portion), scanned));
    for (const ScannedSlot& slot : scanned) {
      stale_ = stale_ || (slot.at_home && slot.descriptor.version != versions[slot.slot]);
    }
  }
  co_return Status();
}

Task<Status> FreeScan::run() {
  std::vector<ScannedSlot> scanned;
  for (size_t file = 0; file < unit_.drive.slots.file_positions(); ++file) {
    for (std::vector<Slot>& portion :
         scan_portions(unit_.drive.slots, static_cast<uint16_t>(file), true)) {
      GD2FS_CO_TRY(co_await scan_slots(core_, unit_, std::move(portion), scanned));
      for (ScannedSlot& slot : scanned) look_at(std::move(slot));
    }
  }
  stale_ = stale_ || unexplained_version_ <= watermark_;
  if (stale_) co_return Status();
  // In the order in which they were written, as a retry's tag is known only once.
  std::sort(unexplained_.begin(), unexplained_.end(), [](const auto& a, const auto& b) {
    return a.descriptor.version < b.descriptor.version;
  });
  for (ScannedSlot& slot : unexplained_) GD2FS_CO_TRY(co_await judge(std::move(slot)));
  GD2FS_CO_TRY(co_await look_at_doomed());
  if (stale_) co_return Status();
  GD2FS_CO_TRY(co_await commit_adopted());
  if (!to_wipe_.empty()) {
    GD2FS_LOG_INFO("drive {}: wiping {} descriptors of before the stop", unit_.drive.path(),
                   to_wipe_.size());
  }
  const Status status = co_await wipe_slots(core_, unit_, std::move(to_wipe_));
  co_return status;
}

void FreeScan::look_at(ScannedSlot scanned) {
  if (scanned.readable && scanned.verdict == DescriptorVerdict::empty) return;
  if (!scanned.at_home) {
    to_wipe_.push_back(scanned.slot);
    return;
  }
  // What was settled then is settled now, also if the log's watermark did not come so far.
  watermark_ = std::max(watermark_, scanned.descriptor.settled_version);
  if (explained(scanned.descriptor)) {
    to_wipe_.push_back(scanned.slot);
    return;
  }
  unexplained_version_ = std::min(unexplained_version_, scanned.descriptor.version);
  if (unexplained_.size() < kUnexplainedMax) {
    unexplained_.push_back(std::move(scanned));
  } else {
    stale_ = true;  // more than can have been under way
  }
}

Task<Status> FreeScan::judge(ScannedSlot scanned) {
  const SlotDescriptor& d = scanned.descriptor;
  const Extent extent{.version = d.version,
                      .at = {unit_.drive.index(), scanned.slot.file, scanned.slot.slot},
                      .first_block = d.first_block,
                      .blocks = d.blocks};
  ChunkIndex::View view;
  const bool fits =
      !core_.index.find(d.key, &view) ||
      (view.chunk_log2 == d.chunk_log2 && view.extents.front().at.drive == unit_.drive.index());
  bool whole = fits && scanned.verdict == DescriptorVerdict::valid;
  if (whole) {
    const Result<bool> matches = co_await write_whole_data_again(core_, unit_, d.key, extent);
    if (!matches) co_return matches.error();
    whole = *matches;
  }
  if (whole) {
    adopt(scanned);
  } else {
    to_wipe_.push_back(scanned.slot);
  }
  co_return Status();
}

void FreeScan::adopt(const ScannedSlot& scanned) {
  const SlotDescriptor& d = scanned.descriptor;
  files_.insert(scanned.slot.file);
  unit_.drive.slots.take_this(scanned.slot);
  std::vector<Extent> extents = core_.extents_of(d.key);
  extents.push_back({.version = d.version,
                     .at = {unit_.drive.index(), scanned.slot.file, scanned.slot.slot},
                     .first_block = d.first_block,
                     .blocks = d.blocks});
  core_.index.set(d.key, d.chunk_log2, extents);
  adopted_.add_rows.push_back(index_row(unit_.drive.place_of(scanned.slot), d));
  uint64_t known = 0;
  if (d.tag.incarnation == 0 ||
      core_.dedup.check(d.tag, d.key, &known) != DedupWindow::Verdict::fresh) {
    return;
  }
  const TagRecord tag{.tag = d.tag, .key = d.key, .version = d.version};
  core_.dedup.record(tag, unit_.drive.index(), core_.loop.now_ns(), &forgotten_);
  adopted_.add_tags.push_back(tag);
  adopted_.lows.push_back({.incarnation = d.tag.incarnation, .low = d.tag.low});
}

Task<Status> FreeScan::commit_adopted() {
  if (adopted_.empty()) co_return Status();
  GD2FS_LOG_INFO("drive {}: {} writes of before the stop are whole, and count", unit_.drive.path(),
                 adopted_.add_rows.size());
  // What a killed process wrote is visible, but perhaps not durable yet.
  for (const uint16_t file : files_) {
    Await syncing;
    unit_.drive.transfer({.kind = DiskOp::Kind::sync, .file = file}, syncing.done());
    const Status synced = co_await syncing;
    GD2FS_CO_TRY(synced);
  }
  IndexDb* const index_db = unit_.drive.index_db.get();
  Await writing;
  unit_.drive.run([index_db, batch = std::move(adopted_)] { return index_db->apply(batch); },
                  writing.done());
  const Status written = co_await writing;
  if (written.ok()) core_.forget_tags(forgotten_);
  co_return written;
}

// Whether each block of it shows something newer, or was cut away.
bool FreeScan::explained(const SlotDescriptor& d) {
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
