// Making and removing data files. A file's name and space are durable before the log tells of it,
// and the log tells of its end before it goes, so that a file that is missing is always noticed.
#include <algorithm>

#include "base/check.h"
#include "base/log.h"
#include "store/drive.h"

namespace gd2fs {
namespace {

// A small drive is cut into finer files, so that every class finds room.
constexpr uint64_t kFilesPerDriveWanted = 64;
// What a slot may come to cost in the index and its write-ahead log: a row, and a tag's row.
constexpr uint64_t kIndexBytesPerSlot = 256;

struct NewFile {
  std::unique_ptr<DiskFile> file;
  uint32_t slots = 0;
};

Status write_header(DiskFile& file, const DataFileHeader& header) {
  AlignedBuffer buffer(kHeaderBytes);
  encode_data_file_header(header, buffer.bytes());
  return file.write_at(0, buffer.bytes());
}

Result<NewFile> create_file(Disk& disk, const DriveUuid& uuid, uint8_t slot_class, uint32_t number,
                            uint32_t slots) {
  const std::string name = data_file_name(slot_class, number);
  GD2FS_ASSIGN(auto file, disk.open(name, OpenMode::create, OpenKind::direct));
  const auto fill = [&]() -> Status {
    GD2FS_TRY(file->truncate(0));
    GD2FS_TRY(file->allocate(0, kHeaderBytes + slots * class_slot_bytes(slot_class)));
    GD2FS_TRY(write_header(
        *file, {.uuid = uuid, .slot_class = slot_class, .number = number, .slots = slots}));
    GD2FS_TRY(file->sync());
    return disk.sync_dir("data");
  };
  const Status filled = fill();
  if (filled.ok()) return NewFile{.file = std::move(file), .slots = slots};
  file.reset();
  if (filled.is(StatusCode::no_space)) GD2FS_TRY(disk.remove(name));
  return fail(filled.with(name));
}

// As many slots as the limits and the free space allow, at least one.
Result<NewFile> create_fitting(Disk& disk, const DriveUuid& uuid, uint8_t slot_class,
                               uint32_t number, const DriveLimits& limits, uint64_t slots_before) {
  GD2FS_ASSIGN(const DiskSpace space, disk.space());
  const uint64_t slot_bytes = class_slot_bytes(slot_class);
  const uint64_t wanted =
      std::min(limits.data_file_bytes, space.total_bytes / kFilesPerDriveWanted);
  uint64_t slots = std::clamp<uint64_t>(wanted / slot_bytes, 1, kSlotsPerFileMax);
  for (;; slots /= 2) {
    if (slots == 0) return fail(StatusCode::no_space, disk.path() + " is full");
    const uint64_t index_bytes = (slots_before + slots) * kIndexBytesPerSlot;
    if (space.free_bytes < slots * slot_bytes + kHeaderBytes + limits.reserve_bytes + index_bytes) {
      continue;
    }
    Result<NewFile> made =
        create_file(disk, uuid, slot_class, number, static_cast<uint32_t>(slots));
    if (made || !made.error().is(StatusCode::no_space)) return made;
  }
}

}  // namespace

void Drive::make_file(uint8_t slot_class, Completion& then) {
  then.start();
  if (!serving_) {
    loop_.complete(then, refused());
    return;
  }
  make_file_ahead(slot_class);
  making_[slot_class]->waiting.push_back(&then);
}

void Drive::make_file_ahead(uint8_t slot_class) {
  if (making_[slot_class] != nullptr) return;
  making_[slot_class] = std::make_unique<Making>();
  Making& making = *making_[slot_class];
  making.drive = this;
  making.slot_class = slot_class;
  making.number = slots.next_number(slot_class);
  making.slots_before = slots.slots();
  making.done.bind<&Making::on_done>(&making);
  run([this, &making] { return make_file_now(making); }, making.done);
}

Status Drive::make_file_now(Making& making) {
  if (making.number > kDataFileNumberMax) {
    return Status(StatusCode::no_space, "data file numbers are used up");
  }
  GD2FS_ASSIGN(NewFile made, create_fitting(*disk_, uuid, making.slot_class, making.number, limits_,
                                            making.slots_before));
  const LogRecord record =
      LogRecord::of(LogRecord::Kind::file_created, making.slot_class, making.number);
  GD2FS_TRY(log.append(std::span(&record, 1)));
  making.file = std::move(made.file);
  making.slots = made.slots;
  return {};
}

void Drive::on_file_made(uint8_t slot_class) {
  Making& making = *making_[slot_class];
  const Status status = making.done.status;
  const std::vector<Completion*> waiting = std::move(making.waiting);
  if (status.ok()) {
    if (slots.file_positions() < SlotMap::kFilesMax) {
      add_open_file(slot_class, making.number, making.slots, std::move(making.file));
    }
  } else if (!status.is(StatusCode::no_space)) {
    set_aside(status.with("making a data file"));
  }
  // While set aside, the job may still run: its Making stays with it.
  if (serving_) {
    making_[slot_class].reset();
  } else {
    making.waiting.clear();
  }
  for (Completion* then : waiting) loop_.complete(*then, status);
}

void Drive::remove_empty_file(bool any, Completion& then) {
  then.start();
  const std::optional<uint16_t> position = slots.empty_file(any);
  if (!serving_ || remove_then_ != nullptr || !position) {
    loop_.complete(then, !serving_ ? refused()
                         : remove_then_ != nullptr
                             ? Status(StatusCode::busy, "one is going")
                             : Status(StatusCode::not_found, "none is empty"));
    return;
  }
  slots.retire_file(*position);
  const SlotMap::File& file = slots.file(*position);
  const LogRecord record =
      LogRecord::of(LogRecord::Kind::file_removed, file.slot_class, file.number);
  files_[*position].reset();
  removing_ = *position;
  remove_then_ = &then;
  run([this, record] { return remove_file_now(record); }, removed_);
}

Status Drive::remove_file_now(const LogRecord& record) {
  GD2FS_TRY(log.append(std::span(&record, 1)));
  GD2FS_TRY(disk_->remove(
      data_file_name(static_cast<uint8_t>(record.a), static_cast<uint32_t>(record.b))));
  return disk_->sync_dir("data");
}

void Drive::on_file_removed(Completion& done) {
  const Status status = done.status;
  Completion* const then = remove_then_;
  remove_then_ = nullptr;
  if (status.ok()) {
    slots.remove_file(removing_);
  } else {
    set_aside(status.with("removing a data file"));
  }
  loop_.complete(*then, status);
}

}  // namespace gd2fs
