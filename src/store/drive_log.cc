#include "store/drive_log.h"

namespace gd2fs {

Result<LogContent> DriveLog::load() {
  GD2FS_ASSIGN(auto file, disk_.open(kName, OpenMode::existing, OpenKind::cached));
  GD2FS_ASSIGN(const uint64_t size_bytes, file->size_bytes());
  if (size_bytes > kLogFileMaxBytes) return fail(StatusCode::corrupt, "drive.log: too long");
  std::vector<std::byte> bytes(size_bytes);
  GD2FS_ASSIGN(const size_t got, file->read_at(0, bytes));
  bytes.resize(got);
  LogContent content = parse_log(bytes);
  next_number_ = content.next_number;
  return content;
}

// Several frames only when one would be too long; they share one sync, so a reader of a torn batch
// sees its front. Callers whose records must stay together keep them below kLogFrameMaxBytes.
Status DriveLog::write_frames(DiskFile& file, std::span<const LogRecord> records,
                              uint64_t* end_bytes) {
  std::string payload;
  const auto put_frame = [&]() -> Status {
    const std::string frame = encode_log_frame(next_number_++, payload);
    const std::string twice = frame + frame;
    payload.clear();
    GD2FS_TRY(file.write_at(*end_bytes, as_bytes(twice.data(), twice.size())));
    *end_bytes += twice.size();
    return {};
  };
  for (const LogRecord& record : records) {
    encode_log_record(record, &payload);
    if (payload.size() < kLogFrameMaxBytes - 256) continue;
    GD2FS_TRY(put_frame());
    // Each frame is synced before the next, as parse_log() relies on.
    GD2FS_TRY(file.sync());
  }
  if (!payload.empty()) GD2FS_TRY(put_frame());
  return file.sync();
}

Status DriveLog::rewrite(std::span<const LogRecord> records) {
  GD2FS_TRY(failed_);
  const auto replace = [&]() -> Status {
    GD2FS_ASSIGN(auto file, disk_.open(kNewName, OpenMode::create, OpenKind::cached));
    GD2FS_TRY(file->truncate(0));
    uint64_t end_bytes = 0;
    GD2FS_TRY(write_frames(*file, records, &end_bytes));
    file.reset();
    GD2FS_TRY(disk_.rename(kNewName, kName));
    GD2FS_TRY(disk_.sync_dir(""));
    GD2FS_ASSIGN(file_, disk_.open(kName, OpenMode::existing, OpenKind::cached));
    end_bytes_ = end_bytes;
    return {};
  };
  failed_ = replace();
  return failed_;
}

Status DriveLog::append(std::span<const LogRecord> records) {
  GD2FS_TRY(failed_);
  if (file_ == nullptr) return Status(StatusCode::io, "drive.log is not open");
  uint64_t end_bytes = end_bytes_;
  failed_ = write_frames(*file_, records, &end_bytes);
  end_bytes_ = end_bytes;
  return failed_;
}

}  // namespace gd2fs
