#include "store/open_drive.h"

#include <algorithm>

#include "base/log.h"

namespace gd2fs {
namespace {

constexpr std::string_view kIdName = "drive.id";

Status write_id(DiskFile& file, const Superblock& superblock) {
  std::vector<std::byte> bytes(kHeaderBytes);
  encode_superblock(superblock, bytes);
  // One copy is whole at any moment.
  for (uint64_t at = 0; at < 2 * kHeaderBytes; at += kHeaderBytes) {
    GD2FS_TRY(file.write_at(at, bytes));
    GD2FS_TRY(file.sync());
  }
  return {};
}

struct FoundId {
  Superblock superblock;
  bool both_whole = false;  // and equal
};

Result<FoundId> read_id(DiskFile& file) {
  FoundId found;
  Status first_error;
  int whole = 0;
  for (uint64_t at = 0; at < 2 * kHeaderBytes; at += kHeaderBytes) {
    std::vector<std::byte> bytes(kHeaderBytes);
    const Result<size_t> got = file.read_at(at, bytes);
    bytes.resize(got ? *got : 0);
    const Result<Superblock> parsed = parse_superblock(bytes);
    if (!parsed && parsed.error().is(StatusCode::unsupported)) return fail(parsed.error());
    if (!parsed && first_error.ok()) first_error = parsed.error();
    if (!parsed) continue;
    if (whole++ == 0) found.superblock = *parsed;
    found.both_whole = whole == 2 && parsed->initialized == found.superblock.initialized &&
                       parsed->version == found.superblock.version;
  }
  if (whole == 0) return fail(first_error);
  return found;
}

Result<bool> is_empty(Disk& disk) {
  GD2FS_ASSIGN(const std::vector<std::string> names, disk.list(""));
  for (const std::string& name : names) {
    if (name == "data") {
      GD2FS_ASSIGN(const std::vector<std::string> files, disk.list("data"));
      if (!files.empty()) return false;
    } else if (name.starts_with("index.db") || name.starts_with(DriveLog::kName)) {
      return false;
    }
  }
  return true;
}

// Sets drive.uuid; `fresh` if there is nothing on the drive yet.
Status identify(StoreCore& core, Drive& drive, DriveUuid new_uuid, OpenedDrive& opened) {
  GD2FS_ASSIGN(drive.lock_file, drive.disk().open(kIdName, OpenMode::create, OpenKind::cached));
  const Status locked = drive.lock_file->try_lock();
  if (!locked.ok()) {
    opened.refuse = locked.is(StatusCode::busy);
    return locked.with("another server uses this data directory");
  }
  const Result<FoundId> found = read_id(*drive.lock_file);
  const Superblock* const id = found ? &found->superblock : nullptr;
  if (id != nullptr && id->deployment_id != core.options.deployment_id) {
    opened.refuse = true;
    return Status(StatusCode::invalid, "this data directory belongs to another deployment");
  }
  if (id != nullptr && id->initialized) {
    drive.uuid = id->uuid;
    return found->both_whole ? Status() : write_id(*drive.lock_file, *id);
  }
  if (!found && found.error().is(StatusCode::unsupported)) {
    opened.refuse = true;
    return found.error();
  }
  if (id == nullptr) {
    GD2FS_ASSIGN(const bool empty, is_empty(drive.disk()));
    if (!empty) {
      return Status(StatusCode::corrupt,
                    "drive.id is damaged or missing, though there is data beside it");
    }
  }
  // New, or a crash came before it was ready: nothing was ever stored here.
  opened.fresh = true;
  drive.uuid = id != nullptr ? id->uuid : new_uuid;
  GD2FS_TRY(write_id(*drive.lock_file, {.deployment_id = core.options.deployment_id,
                                        .uuid = drive.uuid,
                                        .created_us = core.loop.clock().wall_us()}));
  GD2FS_TRY(drive.disk().make_dir("data"));
  return drive.disk().sync_dir("");
}

// A file that the log does not know of yet: a process may have died while it was made. From now on
// the log will count it as there, so it has to be.
Status finish_making(DiskFile& file, const DataFileHeader& header, bool has_header) {
  if (!has_header) {
    AlignedBuffer bytes(kHeaderBytes);
    encode_data_file_header(header, bytes.bytes());
    GD2FS_TRY(file.write_at(0, bytes.bytes()));
  }
  return file.sync();
}

// Adopts every file whose name is ours. Slots of a file that the log does not know, or says is
// removed, are free: nothing is stored in a file before the log tells of it, or after.
Status open_data_files(Drive& drive, const LogSummary& log) {
  GD2FS_TRY(drive.disk().make_dir("data"));
  GD2FS_ASSIGN(const std::vector<std::string> names, drive.disk().list("data"));
  for (const std::string& name : names) {
    uint8_t slot_class = 0;
    uint32_t number = 0;
    const std::string path = "data/" + name;
    if (!parse_data_file_name(name, &slot_class, &number)) {
      GD2FS_LOG_WARN("drive {}: {} is not ours; left alone", drive.path(), path);
      continue;
    }
    GD2FS_ASSIGN(auto file, drive.disk().open(path, OpenMode::existing, OpenKind::direct));
    GD2FS_ASSIGN(const uint64_t size_bytes, file->size_bytes());
    AlignedBuffer header(kHeaderBytes);
    Result<size_t> got = file->read_at(0, header.bytes());
    const Result<DataFileHeader> parsed =
        parse_data_file_header(ConstBytes(header.bytes()).first(got ? *got : 0));
    if (parsed && parsed->uuid != drive.uuid) {
      GD2FS_LOG_ERROR("drive {}: {} belongs to another drive; left alone", drive.path(), path);
      continue;
    }
    if (!parsed) {
      GD2FS_LOG_WARN("drive {}: {}: {}; going by its name", drive.path(), path,
                     parsed.error().to_string());
    }
    const uint64_t slots =
        size_bytes < kHeaderBytes ? 0 : (size_bytes - kHeaderBytes) / class_slot_bytes(slot_class);
    if (slots == 0) {
      drive.slots.skip_number(slot_class, number);
      continue;  // a crash while it was being made; or it is lost, as the log will tell
    }
    const auto slot_count = static_cast<uint32_t>(std::min<uint64_t>(slots, kSlotsPerFileMax));
    const std::pair<uint8_t, uint32_t> own_name(slot_class, number);
    if (std::find(log.files.begin(), log.files.end(), own_name) == log.files.end()) {
      GD2FS_TRY(finish_making(
          *file,
          {.uuid = drive.uuid, .slot_class = slot_class, .number = number, .slots = slot_count},
          parsed.has_value()));
    }
    drive.add_open_file(slot_class, number, slot_count, std::move(file));
  }
  return {};
}

// Puts one row's extent into the index in RAM.
Status load_row(StoreCore& core, Drive& drive, const IndexRow& row, uint64_t* highest_version) {
  std::optional<uint16_t> file = drive.slots.find_file(row.slot_class(), row.file_number());
  if (!file) {
    GD2FS_LOG_ERROR("drive {}: {} is lost; what it held answers io", drive.path(),
                    data_file_name(row.slot_class(), row.file_number()));
    drive.lost_files.emplace_back(row.slot_class(), row.file_number());
    file = drive.add_open_file(row.slot_class(), row.file_number(), kSlotsPerFileMax, nullptr);
  }
  const Slot slot{.file = *file, .slot = static_cast<uint16_t>(row.slot())};
  if (!drive.slots.take_this(slot)) {
    return Status(StatusCode::corrupt, "index.db: two extents in one slot, or none such");
  }
  uint8_t chunk_log2 = row.chunk_log2;
  std::vector<Extent> extents = core.extents_of(row.key, &chunk_log2);
  if (chunk_log2 != row.chunk_log2 || extents.size() >= ChunkIndex::kExtentsHardMax) {
    return Status(StatusCode::corrupt, "index.db: a chunk's extents cannot be");
  }
  extents.push_back({.version = row.version,
                     .at = {drive.index(), slot.file, slot.slot},
                     .first_block = row.first_block,
                     .blocks = row.blocks});
  core.index.set(row.key, row.chunk_log2, extents);
  *highest_version = std::max(*highest_version, row.version);
  return {};
}

Status load_index(StoreCore& core, DriveUnit& unit, OpenedDrive& opened) {
  Drive& drive = unit.drive;
  GD2FS_TRY(drive.index_db->open());
  const LogSummary& log = opened.log;
  if (log.clean && (drive.index_db->transactions() != log.clean_transactions ||
                    drive.index_db->digest() != log.clean_digest)) {
    return Status(StatusCode::corrupt, "index.db is not the one that was closed");
  }
  if (drive.index_db->epoch() < log.epoch || drive.index_db->transactions() < log.transactions) {
    return Status(StatusCode::corrupt, "index.db is older than drive.log");
  }
  uint64_t highest_version = 0;
  GD2FS_ASSIGN(opened.loaded, drive.index_db->load([&](const IndexRow& row) {
    return load_row(core, drive, row, &highest_version);
  }));
  opened.epoch = std::max({opened.epoch, opened.loaded.epoch, epoch_of_version(highest_version)});
  drive.incomplete = drive.incomplete || opened.loaded.incomplete;
  // Lost files take no new data.
  for (const auto& [slot_class, number] : drive.lost_files) {
    drive.slots.retire_file(*drive.slots.find_file(slot_class, number));
  }
  return {};
}

Status open_steps(StoreCore& core, DriveUnit& unit, DriveUuid new_uuid, OpenedDrive& opened) {
  Drive& drive = unit.drive;
  GD2FS_TRY(identify(core, drive, new_uuid, opened));
  drive.index_db =
      std::make_unique<IndexDb>(drive.disk(), drive.uuid, core.options.drive_reserve_bytes);
  if (opened.fresh) {
    GD2FS_TRY(drive.index_db->create(0));
    opened.log.whole = true;
    return drive.index_db->finish();
  }
  Result<LogContent> content = drive.log.load();
  if (content) opened.log = sum_up_log(*content, drive.uuid);
  if (!content && !content.error().is(StatusCode::not_found)) return content.error();
  opened.epoch = opened.log.epoch;
  drive.incomplete = opened.log.incomplete;
  GD2FS_TRY(drive.disk().sync_dir("data"));  // a killed process may have left names not durable
  GD2FS_TRY(open_data_files(drive, opened.log));
  for (const auto& [slot_class, number] : opened.log.files) {
    drive.slots.skip_number(slot_class, number);
  }
  Status loaded = core.options.rebuild ? Status(StatusCode::corrupt, "a rebuild was asked for")
                                       : load_index(core, unit, opened);
  if (loaded.ok()) {
    if (!opened.log.whole) {
      opened.log.scattered = true;  // where its chunks' kin went is not known any more
      GD2FS_LOG_ERROR("drive {}: drive.log is damaged or missing; made anew from the index",
                      drive.path());
    }
    return {};
  }
  if (loaded.is(StatusCode::unsupported)) {
    opened.refuse = true;
    return loaded;
  }
  if (!loaded.is(StatusCode::corrupt) && !loaded.is(StatusCode::not_found)) return loaded;
  if (!opened.log.whole) {
    // Without either nobody knows which bytes were cut away; bringing them back would be worse.
    return loaded.with("both drive.log and index.db are damaged or missing");
  }
  opened.rebuild = true;
  opened.rebuild_why = loaded.to_string();
  core.index.remove_drive(drive.index());
  drive.forget_lost_files();
  drive.slots.free_all();
  return {};
}

}  // namespace

LogSummary sum_up_log(const LogContent& content, const DriveUuid& uuid) {
  LogSummary sum;
  const std::vector<LogRecord>& records = content.records;
  sum.whole = !content.damaged && !records.empty() &&
              records.front().kind == LogRecord::Kind::identity && records.front().uuid == uuid;
  for (const LogRecord& r : records) {
    sum.clean = false;
    switch (r.kind) {
      case LogRecord::Kind::identity:
        break;
      case LogRecord::Kind::epoch_start:
        sum.epoch = std::max(sum.epoch, r.a);
        break;
      case LogRecord::Kind::file_created:
        sum.files.emplace_back(static_cast<uint8_t>(r.a), static_cast<uint32_t>(r.b));
        break;
      case LogRecord::Kind::file_removed:
        std::erase(sum.files, std::pair(static_cast<uint8_t>(r.a), static_cast<uint32_t>(r.b)));
        break;
      case LogRecord::Kind::fence:
        sum.fences.push_back(r.fence);
        break;
      case LogRecord::Kind::watermark:
        sum.watermark = std::max(sum.watermark, r.a);
        sum.transactions = std::max(sum.transactions, r.b);
        break;
      case LogRecord::Kind::clean_close:
        sum.clean = !content.damaged;
        sum.clean_transactions = r.a;
        sum.clean_digest = r.b;
        break;
      case LogRecord::Kind::incomplete:
        sum.incomplete = true;
        break;
      case LogRecord::Kind::member:
        sum.members.push_back(r.uuid);
        break;
      case LogRecord::Kind::tag:
        sum.tags.push_back(r.tag);
        break;
      case LogRecord::Kind::overflow:
        sum.overflows.emplace_back(r.a, r.b);
        break;
      case LogRecord::Kind::scattered:
        sum.scattered = true;
        break;
      case LogRecord::Kind::forgotten:
        if (r.b != 0) {
          sum.forgotten[r.uuid].inode_ends.push_back(r.b);
        } else {
          sum.forgotten[r.uuid].below = r.a;
        }
        break;
    }
  }
  return sum;
}

void open_drive(StoreCore& core, DriveUnit& unit, DriveUuid new_uuid, OpenedDrive& opened) {
  opened.status = open_steps(core, unit, new_uuid, opened);
  if (!opened.status.ok()) core.index.remove_drive(unit.drive.index());
}

Status finish_fresh_drive(Drive& drive, uint64_t deployment_id) {
  GD2FS_ASSIGN(FoundId found, read_id(*drive.lock_file));
  found.superblock.deployment_id = deployment_id;
  found.superblock.initialized = true;
  return write_id(*drive.lock_file, found.superblock);
}

Status raise_version(Drive& drive) {
  GD2FS_ASSIGN(FoundId found, read_id(*drive.lock_file));
  if (found.both_whole && found.superblock.version >= kForgottenDrivesVersion) return {};
  found.superblock.version = kForgottenDrivesVersion;
  return write_id(*drive.lock_file, found.superblock);
}

}  // namespace gd2fs
