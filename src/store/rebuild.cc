#include "store/rebuild.h"

#include <algorithm>

#include "base/log.h"

namespace gd2fs {

Task<Status> Rebuild::run() {
  for (const auto& [slot_class, number] : log_.files) {
    if (!unit_.drive.slots.find_file(slot_class, number)) unit_.drive.incomplete = true;
  }
  for (size_t file = 0; file < unit_.drive.slots.file_positions(); ++file) {
    GD2FS_CO_TRY(co_await scan_file(static_cast<uint16_t>(file)));
  }
  for (const ScannedSlot& scanned : doubtful_) {
    if (scanned.descriptor.version <= watermark_) {
      keep(scanned);
    } else {
      to_wipe_.push_back(scanned.slot);
    }
  }
  prune_all();
  const Status status = co_await finish();
  co_return status;
}

Task<Status> Rebuild::scan_file(uint16_t file) {
  std::vector<ScannedSlot> scanned;
  for (std::vector<Slot>& portion : scan_portions(unit_.drive.slots, file, false)) {
    GD2FS_CO_TRY(co_await scan_slots(core_, unit_, std::move(portion), scanned));
    for (ScannedSlot& slot : scanned) GD2FS_CO_TRY(co_await judge(std::move(slot)));
    if (batch_.add_rows.size() >= kRowsPerTransaction) GD2FS_CO_TRY(co_await write_rows());
  }
  co_return Status();
}

Task<Status> Rebuild::judge(ScannedSlot scanned) {
  if (scanned.readable && scanned.verdict == DescriptorVerdict::empty) co_return Status();
  ChunkIndex::View view;
  const bool fits = scanned.at_home && (!core_.index.find(scanned.descriptor.key, &view) ||
                                        view.chunk_log2 == scanned.descriptor.chunk_log2);
  if (!fits) {
    GD2FS_LOG_ERROR("drive {}: {}: the descriptor is damaged or does not belong there",
                    unit_.drive.path(), unit_.drive.describe(scanned.slot));
    unit_.drive.incomplete = true;
    to_wipe_.push_back(scanned.slot);
    co_return Status();
  }
  const SlotDescriptor& d = scanned.descriptor;
  watermark_ = std::max(watermark_, d.settled_version);
  if (scanned.verdict == DescriptorVerdict::torn) {
    doubtful_.push_back(std::move(scanned));
    co_return Status();
  }
  if (d.version > watermark_) {
    const Extent extent{.version = d.version,
                        .at = {unit_.drive.index(), scanned.slot.file, scanned.slot.slot},
                        .first_block = d.first_block,
                        .blocks = d.blocks};
    const Result<bool> whole = co_await write_whole_data_again(core_, unit_, d.key, extent);
    if (!whole) co_return whole.error();
    if (!*whole) {
      doubtful_.push_back(std::move(scanned));
      co_return Status();
    }
  }
  keep(scanned);
  co_return Status();
}

void Rebuild::keep(const ScannedSlot& scanned) {
  const SlotDescriptor& d = scanned.descriptor;
  take_tag(d);
  unit_.drive.slots.take_this(scanned.slot);
  batch_.add_rows.push_back(index_row(unit_.drive.place_of(scanned.slot), d));
  std::vector<Extent> extents = core_.extents_of(d.key);
  extents.push_back({.version = d.version,
                     .at = {unit_.drive.index(), scanned.slot.file, scanned.slot.slot},
                     .first_block = d.first_block,
                     .blocks = d.blocks});
  core_.index.set(d.key, d.chunk_log2, extents);
  if (extents.size() > kPruneAbove) prune(d.key);
}

void Rebuild::take_tag(const SlotDescriptor& d) {
  if (d.tag.incarnation == 0) return;
  const uint64_t now_ns = core_.loop.now_ns();
  std::vector<DedupWindow::Forgotten> unneeded;
  core_.dedup.record({.tag = d.tag, .key = d.key, .version = d.version}, unit_.drive.index(),
                     now_ns, &unneeded);
}

// What shows nowhere any more. Its descriptor is wiped later, like that of any dropped extent.
void Rebuild::prune(const ChunkKey& key) {
  uint8_t chunk_log2 = 0;
  const std::vector<Extent> extents = core_.extents_of(key, &chunk_log2);
  std::vector<bool> gone(extents.size(), false);
  for (const int i : shadowed_extents(extents)) gone[static_cast<size_t>(i)] = true;
  std::vector<Extent> kept;
  for (size_t i = 0; i < extents.size(); ++i) {
    const Extent& extent = extents[i];
    if (!gone[i] || extent.at.drive != unit_.drive.index()) {
      kept.push_back(extent);
      continue;
    }
    const Slot slot{extent.at.file, extent.at.slot};
    // Once the slot is used again only the log knows the mutation, should the index be lost again.
    if (const std::optional<TagRecord> tag = core_.dedup.find_version(extent.version)) {
      LogRecord record = LogRecord::of(LogRecord::Kind::tag);
      record.tag = *tag;
      tags_to_log_.push_back(record);
      core_.dedup.logged(extent.version);
    }
    // Its row may be waiting in this very batch, where removals would come first.
    const int64_t place = unit_.drive.place_of(slot);
    const auto waiting = std::find_if(batch_.add_rows.begin(), batch_.add_rows.end(),
                                      [&](const IndexRow& row) { return row.place == place; });
    if (waiting != batch_.add_rows.end()) {
      batch_.add_rows.erase(waiting);
    } else {
      batch_.remove_places.push_back(place);
    }
    unit_.drive.slots.dropped(slot);
    unit_.drive.slots.free(slot);
  }
  if (kept.size() != extents.size()) core_.index.set(key, chunk_log2, kept);
}

void Rebuild::prune_all() {
  std::vector<ChunkKey> keys;
  for (uint32_t shard = 0; shard < ChunkIndex::kShards; ++shard) {
    keys.clear();
    core_.index.keys_of_shard(shard, &keys);
    for (const ChunkKey& key : keys) prune(key);
  }
}

Task<Status> Rebuild::write_rows() {
  IndexDb* const index_db = unit_.drive.index_db.get();
  Await writing;
  unit_.drive.run([index_db, batch = std::move(batch_)] { return index_db->apply(batch); },
                  writing.done());
  batch_ = IndexBatch();
  const Status status = co_await writing;
  co_return status;
}

Task<Status> Rebuild::finish() {
  GD2FS_CO_TRY(co_await wipe_slots(core_, unit_, std::move(to_wipe_)));
  // What a killed process wrote is visible, but perhaps not durable yet.
  for (size_t file = 0; file < unit_.drive.slots.file_positions(); ++file) {
    if (unit_.drive.file(static_cast<uint16_t>(file)) == nullptr) continue;
    Await syncing;
    unit_.drive.transfer({.kind = DiskOp::Kind::sync, .file = static_cast<uint16_t>(file)},
                         syncing.done());
    const Status synced = co_await syncing;
    GD2FS_CO_TRY(synced);
  }
  if (!tags_to_log_.empty()) {
    Await logging;
    unit_.drive.append_log(std::move(tags_to_log_), logging.done());
    const Status logged = co_await logging;
    GD2FS_CO_TRY(logged);
  }
  std::vector<TagRecord> tags;
  core_.dedup.records(unit_.drive.index(), &tags);
  batch_.add_tags = std::move(tags);
  std::vector<std::pair<uint64_t, uint64_t>> lows;
  core_.dedup.lows(&lows);
  for (const auto& [incarnation, low] : lows) {
    batch_.lows.push_back({.incarnation = incarnation, .low = low});
  }
  std::vector<FenceRecord> fences;
  core_.fences.records(&fences);
  batch_.add_fences = std::move(fences);
  GD2FS_CO_TRY(co_await write_rows());
  IndexDb* const index_db = unit_.drive.index_db.get();
  const bool incomplete = unit_.drive.incomplete;
  Await finishing;
  unit_.drive.run(
      [index_db, incomplete]() -> Status {
        if (incomplete) GD2FS_TRY(index_db->set_incomplete());
        return index_db->finish();
      },
      finishing.done());
  const Status status = co_await finishing;
  co_return status;
}

}  // namespace gd2fs
