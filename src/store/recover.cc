#include "store/recover.h"

#include <algorithm>
#include <set>

#include "base/log.h"
#include "store/fence_op.h"
#include "store/free_scan.h"
#include "store/rebuild.h"

namespace gd2fs {
namespace {

constexpr uint64_t kLogBusyWaitNs = 10 * kMs;

std::string records_of(const Placement& placement) {
  std::vector<LogRecord> records;
  placement.records(&records);
  std::string bytes;
  for (const LogRecord& record : records) encode_log_record(record, &bytes);
  return bytes;
}

}  // namespace

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
  core_.fences_unsure = core_.placement.anything_missing();
  see_overflows();
  co_await keep_placement();
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
  turn_away_forgotten();
  if (serving() == 0) return opened_.front().status;
  take_members();
  GD2FS_TRY(take_what_to_forget());
  uint64_t epoch = 0;
  for (size_t i = 0; i < core_.drives.size(); ++i) {
    OpenedDrive& opened = opened_[i];
    if (!opened.status.ok()) continue;
    for (const auto& [slot_class, number] : opened.log.files) {
      if (core_.drives[i]->drive.slots.find_file(slot_class, number)) continue;
      opened.lost_files.emplace_back(slot_class, number);
    }
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

// A drive that was given up is back: what it has may be old, and was replaced elsewhere.
void Recovery::turn_away_forgotten() {
  std::set<DriveUuid> forgotten;
  for (const OpenedDrive& opened : opened_) {
    if (!opened.status.ok()) continue;
    for (const auto& [uuid, when] : opened.log.forgotten) {
      if (when.below != 0) forgotten.insert(uuid);
    }
  }
  for (size_t i = 0; i < opened_.size(); ++i) {
    Drive& drive = core_.drives[i]->drive;
    if (!opened_[i].status.ok() || !forgotten.contains(drive.uuid)) continue;
    opened_[i].status =
        Status(StatusCode::invalid,
               "this drive was given up as lost (forget_drives); an empty directory "
               "in its place joins as a new drive");
    drive.set_aside(opened_[i].status);
    core_.index.remove_drive(drive.index());
  }
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
    for (const OpenedDrive& opened : opened_) {
      const auto forgotten = opened.log.forgotten.find(uuid);
      if (!opened.status.ok() || forgotten == opened.log.forgotten.end()) continue;
      if (forgotten->second.below == 0) continue;  // not all of it was recorded
      // Given up twice, by drives that did not know of each other: what either says is lost, is.
      const uint64_t below = forgotten->second.below;
      member.forgotten_below = member.forgotten() ? std::min(member.forgotten_below, below) : below;
      std::vector<uint64_t>& ends = member.inode_ends;
      ends.insert(ends.end(), forgotten->second.inode_ends.begin(),
                  forgotten->second.inode_ends.end());
      std::sort(ends.begin(), ends.end());
      ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
    }
    for (size_t i = 0; i < opened_.size(); ++i) {
      const Drive& drive = core_.drives[i]->drive;
      if (!opened_[i].status.ok() || drive.uuid != uuid) continue;
      member.present = true;
      member.drive = static_cast<uint16_t>(i);
      member.incomplete = drive.incomplete;
    }
    if (!member.present && !member.forgotten()) {
      GD2FS_LOG_WARN("drive {} of this store is missing; bytes that it may hold answer io",
                     uuid.to_string());
    }
    members.push_back(member);
  }
  distrust(members);
  core_.placement.set_members(std::move(members));
}

// A drive that was not closed may have been set aside before the store stopped. New chunks that
// belong on it went elsewhere then, and only the drives that were left know. One that is not here
// may have been, too.
void Recovery::distrust(const std::vector<Placement::Member>& members) {
  for (const Placement::Member& home : members) {
    if (home.present && (opened_[home.drive].fresh || opened_[home.drive].log.clean)) continue;
    for (const Placement::Member& away : members) {
      if (away.present || away.forgotten()) continue;
      core_.placement.add_overflow(home.uuid.tag(), away.uuid.tag());
    }
  }
}

Status Recovery::take_what_to_forget() {
  for (const DriveUuid& uuid : core_.options.forget_drives) {
    const auto& members = core_.placement.members();
    const auto member = std::ranges::find(members, uuid, &Placement::Member::uuid);
    if (member == members.end()) {
      return Status(StatusCode::invalid,
                    "forget_drives: " + uuid.to_string() + " is none of this store's drives");
    }
    if (member->present) {
      return Status(StatusCode::invalid,
                    "forget_drives: " + core_.drives[member->drive]->drive.path() + " is here");
    }
    if (!member->forgotten()) core_.to_forget.push_back(uuid);
  }
  return {};
}

std::vector<LogRecord> Recovery::log_records(size_t index) const {
  std::vector<LogRecord> records = log_content(core_, *core_.drives[index]);
  // A file that is lost stays on the list, so that a later rebuild knows of it too.
  for (const auto& [slot_class, number] : opened_[index].lost_files) {
    records.push_back(LogRecord::of(LogRecord::Kind::file_created, slot_class, number));
  }
  return records;
}

Task<Status> Recovery::rewrite_log(size_t index, uint64_t watermark, uint64_t transactions) {
  DriveUnit& unit = *core_.drives[index];
  std::vector<LogRecord> records = log_records(index);
  for (LogRecord& record : records) {
    if (record.kind != LogRecord::Kind::watermark) continue;
    record.a = watermark;
    record.b = transactions;
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
  placement_logged_ = records_of(core_.placement);
  for (size_t i = 0; i < core_.drives.size(); ++i) {
    DriveUnit& unit = *core_.drives[i];
    if (!unit.drive.serving()) continue;
    const OpenedDrive& opened = opened_[i];
    Drive* const drive = &unit.drive;
    const bool rebuild = opened.rebuild;
    const bool raise = core_.placement.anything_forgotten();
    Await marking;
    drive->run(
        [drive, epoch, rebuild, raise]() -> Status {
          if (raise) GD2FS_TRY(raise_version(*drive));
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

// With all drives here it is seen where every chunk is, and doubts about those that were away end.
void Recovery::see_overflows() {
  Placement& placement = core_.placement;
  if (!placement.anything_elsewhere()) return;
  if (placement.anything_missing() || placement.anything_incomplete()) return;
  for (const Placement::Member& member : placement.members()) {
    if (member.present && !core_.drives[member.drive]->drive.serving()) return;
  }
  std::set<std::pair<uint64_t, uint64_t>> seen;
  std::vector<ChunkKey> keys;
  for (uint32_t shard = 0; shard < ChunkIndex::kShards; ++shard) {
    keys.clear();
    core_.index.keys_of_shard(shard, &keys);
    for (const ChunkKey& key : keys) {
      ChunkIndex::View view;
      if (!core_.index.find(key, &view)) continue;
      const uint64_t home = placement.home_tag(key);
      for (const Extent& extent : view.extents) {
        const uint64_t at = core_.unit(extent).drive.uuid.tag();
        if (home != at) seen.emplace(home, at);
      }
    }
  }
  placement.set_overflows(std::move(seen));
}

// What has come or gone since the logs were made anew.
Task<void> Recovery::keep_placement() {
  if (records_of(core_.placement) == placement_logged_) co_return;
  for (size_t i = 0; i < core_.drives.size(); ++i) {
    Drive& drive = core_.drives[i]->drive;
    Status status(StatusCode::busy);
    while (drive.serving() && status.is(StatusCode::busy)) {
      Await rewriting;
      drive.rewrite_log([this, i] { return log_records(i); }, rewriting.done());
      status = co_await rewriting;
      if (status.is(StatusCode::busy)) co_await Delay(core_.loop, kLogBusyWaitNs);
    }
    if (drive.serving() && !status.ok()) set_aside(i, status);
  }
}

}  // namespace gd2fs
