#include "store/recover.h"

#include <algorithm>
#include <set>

#include "base/log.h"
#include "store/fence_op.h"
#include "store/free_scan.h"
#include "store/rebuild.h"

namespace gd2fs {

Recovery::Recovery(StoreCore& core, std::vector<StoreDrive> drives)
    : core_(core), parts_(std::move(drives)), opened_(parts_.size()) {}

Task<Status> Recovery::run() {
  if (parts_.empty() || parts_.size() > StoreCore::kDrivesMax) {
    co_return Status(StatusCode::invalid, "a store has 1 to 64 drives");
  }
  GD2FS_CO_TRY(co_await open_all());
  GD2FS_CO_TRY(take_stock());
  GD2FS_CO_TRY(co_await start_epoch());
  for (size_t i = 0; i < core_.drives.size(); ++i) {
    if (!core_.drives[i]->drive.serving()) continue;
    const Status status = co_await recover_drive(i);
    if (!status.ok()) set_aside(i, status);
  }
  drop_shadowed();
  GD2FS_CO_TRY(co_await settle());
  GD2FS_CO_TRY(co_await redo_fences());
  if (serving() == 0) co_return Status(StatusCode::io, "no drive could be opened");
  co_return Status();
}

void Recovery::set_aside(size_t index, const Status& why) {
  core_.drives[index]->drive.set_aside(why);
  opened_[index].status = why;
  core_.index.remove_drive(static_cast<uint16_t>(index));
  take_members();  // what it holds is not known
}

size_t Recovery::serving() const {
  return static_cast<size_t>(std::count_if(core_.drives.begin(), core_.drives.end(),
                                           [](const auto& unit) { return unit->drive.serving(); }));
}

// One after another: loading an index fills the one table that all drives share.
Task<Status> Recovery::open_all() {
  for (size_t i = 0; i < parts_.size(); ++i) {
    core_.drives.push_back(std::make_unique<DriveUnit>(
        core_.loop, static_cast<uint16_t>(i), std::move(parts_[i]), core_.slab, core_.options));
  }
  for (size_t i = 0; i < core_.drives.size(); ++i) {
    DriveUnit& unit = *core_.drives[i];
    OpenedDrive& opened = opened_[i];
    DriveUuid uuid;
    core_.random.fill(uuid.bytes);
    StoreCore* const core = &core_;
    Await opening;
    unit.drive.run(
        [core, &unit, uuid, &opened]() -> Status {
          open_drive(*core, unit, uuid, opened);
          return {};
        },
        opening.done());
    const Status ran = co_await opening;
    if (!ran.ok()) opened.status = ran;
    if (opened.refuse) co_return opened.status.with(unit.drive.path());
  }
  co_return Status();
}

// What the drives know together.
Status Recovery::take_stock() {
  const uint64_t now_ns = core_.loop.now_ns();
  for (size_t i = 0; i < core_.drives.size(); ++i) {
    Drive& drive = core_.drives[i]->drive;
    if (!opened_[i].status.ok()) {
      drive.set_aside(opened_[i].status);
      continue;
    }
    drive.set_serving();
  }
  if (serving() == 0) return opened_.front().status;
  take_members();
  uint64_t epoch = 0;
  for (size_t i = 0; i < core_.drives.size(); ++i) {
    OpenedDrive& opened = opened_[i];
    if (!opened.status.ok()) continue;
    const auto drive = static_cast<uint16_t>(i);
    epoch = std::max(epoch, opened.epoch);
    for (const FenceRecord& fence : opened.log.fences) core_.fences.add(fence, now_ns);
    for (const FenceRecord& fence : opened.loaded.fences) core_.fences.add(fence, now_ns);
    for (const TagRecord& tag : opened.loaded.tags) core_.dedup.load(tag, drive, now_ns);
    std::vector<DedupWindow::Forgotten> forgotten;
    for (const TagRecord& tag : opened.log.tags) {
      core_.dedup.load(tag, drive, now_ns);
      core_.dedup.logged(tag.version);
      core_.dedup.raise_low(tag.tag.incarnation, tag.tag.low, now_ns, &forgotten);
    }
    for (const ClientLow& low : opened.loaded.lows) {
      core_.dedup.raise_low(low.incarnation, low.low, now_ns, &forgotten);
    }
    core_.forget_tags(forgotten);
  }
  core_.versions.begin_epoch(epoch + 1);
  return {};
}

// All drives that the logs know of, and those that are new. When the set grows, what was placed by
// the old set may be anywhere.
void Recovery::take_members() {
  std::set<DriveUuid> known;
  for (const OpenedDrive& opened : opened_) {
    if (!opened.status.ok()) continue;
    known.insert(opened.log.members.begin(), opened.log.members.end());
    for (const auto& [home, to] : opened.log.overflows) core_.placement.add_overflow(home, to);
    if (opened.log.scattered) core_.placement.set_scattered();
  }
  const size_t known_before = known.size();
  for (size_t i = 0; i < opened_.size(); ++i) {
    if (opened_[i].status.ok()) known.insert(core_.drives[i]->drive.uuid);
  }
  if (known_before != 0 && known.size() != known_before) core_.placement.set_scattered();
  std::vector<Placement::Member> members;
  for (const DriveUuid& uuid : known) {
    Placement::Member member{.uuid = uuid};
    for (size_t i = 0; i < opened_.size(); ++i) {
      const Drive& drive = core_.drives[i]->drive;
      if (!opened_[i].status.ok() || drive.uuid != uuid) continue;
      member.present = true;
      member.drive = static_cast<uint16_t>(i);
      member.incomplete = drive.incomplete;
    }
    if (!member.present) {
      GD2FS_LOG_WARN("drive {} of this store is missing; bytes that it may hold answer io",
                     uuid.to_string());
    }
    members.push_back(member);
  }
  core_.placement.set_members(std::move(members));
}

Task<Status> Recovery::rewrite_log(size_t index, uint64_t watermark, uint64_t transactions) {
  DriveUnit& unit = *core_.drives[index];
  std::vector<LogRecord> records = log_content(core_, unit);
  for (LogRecord& record : records) {
    if (record.kind != LogRecord::Kind::watermark) continue;
    record.a = watermark;
    record.b = transactions;
  }
  // A file that is lost stays on the list, so that a later rebuild knows of it too.
  for (const auto& [slot_class, number] : opened_[index].log.files) {
    if (unit.drive.slots.find_file(slot_class, number)) continue;
    records.push_back(LogRecord::of(LogRecord::Kind::file_created, slot_class, number));
  }
  Await rewriting;
  Drive* const drive = &unit.drive;
  drive->run([drive, records = std::move(records)] { return drive->log.rewrite(records); },
             rewriting.done());
  const Status status = co_await rewriting;
  co_return status;
}

// The new epoch is on every serving drive before its first version is used. It comes to the index
// first: an index of an older epoch than the log's has lost its end.
Task<Status> Recovery::start_epoch() {
  const uint64_t epoch = core_.versions.epoch();
  for (size_t i = 0; i < core_.drives.size(); ++i) {
    DriveUnit& unit = *core_.drives[i];
    if (!unit.drive.serving()) continue;
    const OpenedDrive& opened = opened_[i];
    Drive* const drive = &unit.drive;
    const bool rebuild = opened.rebuild;
    Await marking;
    drive->run(
        [drive, epoch, rebuild] {
          // The old index goes: from here on only a finished rebuild makes one that counts.
          return rebuild ? drive->index_db->create(epoch) : drive->index_db->set_epoch(epoch);
        },
        marking.done());
    Status status = co_await marking;
    unit.groups.transactions = drive->index_db->transactions();
    if (status.ok()) {
      status = co_await rewrite_log(i, opened.log.watermark, unit.groups.transactions);
    }
    if (status.ok() && opened.fresh) {
      const uint64_t deployment_id = core_.options.deployment_id;
      Await finishing;
      drive->run([drive, deployment_id] { return finish_fresh_drive(*drive, deployment_id); },
                 finishing.done());
      status = co_await finishing;
    }
    if (!status.ok()) set_aside(i, status);
  }
  co_return Status();
}

Task<Status> Recovery::recover_drive(size_t index) {
  const OpenedDrive& opened = opened_[index];
  GD2FS_CO_TRY(co_await take_index(index));
  if (opened.fresh || (opened.log.whole && opened.log.clean)) co_return Status();
  const Status status = co_await sync_files(*core_.drives[index]);
  co_return status;
}

// What a killed process wrote is visible, a wipe too, but perhaps not durable yet: nothing counts
// as settled before it is.
Task<Status> Recovery::sync_files(DriveUnit& unit) {
  for (size_t file = 0; file < unit.drive.slots.file_positions(); ++file) {
    if (unit.drive.file(static_cast<uint16_t>(file)) == nullptr) continue;
    Await syncing;
    unit.drive.transfer({.kind = DiskOp::Kind::sync, .file = static_cast<uint16_t>(file)},
                        syncing.done());
    const Status status = co_await syncing;
    GD2FS_CO_TRY(status);
  }
  co_return Status();
}

Task<Status> Recovery::take_index(size_t index) {
  DriveUnit& unit = *core_.drives[index];
  const OpenedDrive& opened = opened_[index];
  if (opened.rebuild) {
    GD2FS_LOG_WARN("drive {}: rebuilding the index by scan: {}", unit.drive.path(),
                   opened.rebuild_why);
    const Status status = co_await rebuild_drive(index);
    co_return status;
  }
  if (opened.fresh || (opened.log.whole && opened.log.clean)) co_return Status();
  FreeScan scan(core_, unit, opened.log.watermark);
  GD2FS_CO_TRY(co_await scan.run());
  unit.groups.transactions = unit.drive.index_db->transactions();
  if (!scan.index_is_stale()) co_return Status();
  GD2FS_LOG_ERROR("drive {}: committed extents are missing from the index; rebuilding it by scan",
                  unit.drive.path());
  core_.index.remove_drive(unit.drive.index());
  unit.drive.slots.free_all();
  Drive* const drive = &unit.drive;
  const uint64_t epoch = core_.versions.epoch();
  Await creating;
  drive->run([drive, epoch] { return drive->index_db->create(epoch); }, creating.done());
  GD2FS_CO_TRY(co_await creating);
  unit.groups.transactions = 0;
  GD2FS_CO_TRY(co_await rewrite_log(index, opened.log.watermark, 0));
  const Status status = co_await rebuild_drive(index);
  co_return status;
}

Task<Status> Recovery::rebuild_drive(size_t index) {
  DriveUnit& unit = *core_.drives[index];
  Rebuild rebuild(core_, unit, opened_[index].log);
  GD2FS_CO_TRY(co_await rebuild.run());
  unit.groups.transactions = unit.drive.index_db->transactions();
  if (!rebuild.incomplete()) co_return Status();
  GD2FS_LOG_ERROR(
      "drive {}: descriptors are damaged or files lost; what no extent covers answers io",
      unit.drive.path());
  core_.placement.set_incomplete(unit.drive.index());
  co_return Status();
}

void Recovery::drop_shadowed() {
  std::vector<ChunkKey> keys;
  for (uint32_t shard = 0; shard < ChunkIndex::kShards; ++shard) {
    keys.clear();
    core_.index.keys_of_shard(shard, &keys);
    for (const ChunkKey& key : keys) {
      const std::vector<Extent> extents = core_.extents_of(key);
      std::vector<SlotAddress> gone;
      for (const int i : shadowed_extents(extents)) {
        const Extent& extent = extents[static_cast<size_t>(i)];
        if (core_.unit(extent).drive.serving()) gone.push_back(extent.at);
      }
      if (!gone.empty()) core_.drop_extents(key, gone);
    }
  }
}

// What is on a drive now from before this epoch is committed, or will be dropped durably before
// its slot is used again. Nothing in between is left.
Task<Status> Recovery::settle() {
  const uint64_t watermark = make_version(core_.versions.epoch(), 0);
  for (size_t i = 0; i < core_.drives.size(); ++i) {
    DriveUnit& unit = *core_.drives[i];
    if (!unit.drive.serving()) continue;
    Await logging;
    std::vector<LogRecord> records;
    records.push_back(
        LogRecord::of(LogRecord::Kind::watermark, watermark, unit.groups.transactions));
    if (unit.drive.incomplete) records.push_back(LogRecord::of(LogRecord::Kind::incomplete));
    unit.drive.append_log(std::move(records), logging.done());
    const Status status = co_await logging;
    if (!status.ok()) set_aside(i, status);
    unit.groups.start(unit.groups.transactions);
  }
  co_return Status();
}

Task<Status> Recovery::redo_fences() {
  for (const uint64_t inode : core_.fences.inodes_with_cuts()) {
    for (const FenceRecord& fence : core_.fences.cuts(inode)) {
      Await carried_out;
      FenceOp::redo(core_, fence, carried_out.done());
      const Status status = co_await carried_out;
      if (status.ok()) continue;
      // It was not acknowledged, or it would need nothing now: who sent it will send it again.
      GD2FS_LOG_WARN("fence of inode {} is not carried out yet: {}", inode, status.to_string());
    }
  }
  co_return Status();
}

}  // namespace gd2fs
