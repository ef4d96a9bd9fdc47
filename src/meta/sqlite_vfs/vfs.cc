#include "meta/sqlite_vfs/vfs.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <vector>

#include "base/random.h"
#include "disk/rules.h"

namespace gd2fs {
namespace {

constexpr int kVfsVersion = 1;
constexpr uint64_t kLogStepBytes = 1 * kMiB;
constexpr uint64_t kLogHeaderBytes = 32;
constexpr double kJulianDay = 2460000.5;  // a constant: see the header

// SQLite hands us raw memory of this size for each file it opens.
struct VfsFile {
  sqlite3_file base;  // first: SQLite sees only this
  SqliteVfs* vfs;
  std::unique_ptr<DiskFile> file;
  bool name_durable;
  bool delete_on_close;
  bool locked;
  bool log;
  uint64_t size_bytes;  // of a log, with its zeros
};

VfsFile& vfs_file(sqlite3_file* file) {
  return *reinterpret_cast<VfsFile*>(file);
}

SqliteVfs& vfs_of(sqlite3_vfs* vfs) {
  return *static_cast<SqliteVfs*>(vfs->pAppData);
}

int file_close(sqlite3_file* file) {
  VfsFile& self = vfs_file(file);
  SqliteVfs* vfs = self.vfs;
  const std::string doomed = self.delete_on_close ? self.file->name() : std::string();
  self.~VfsFile();
  if (doomed.empty()) return SQLITE_OK;
  Status status = vfs->disk().remove(doomed);
  return status.ok() ? SQLITE_OK : vfs->failed(std::move(status), SQLITE_IOERR_DELETE);
}

int file_read(sqlite3_file* file, void* out, int length, sqlite3_int64 offset) {
  VfsFile& self = vfs_file(file);
  const Bytes bytes = as_writable_bytes(out, static_cast<size_t>(length));
  auto got = self.file->read_at(static_cast<uint64_t>(offset), bytes);
  if (!got) return self.vfs->failed(std::move(got.error()), SQLITE_IOERR_READ);
  if (*got == bytes.size()) return SQLITE_OK;
  std::memset(bytes.data() + *got, 0, bytes.size() - *got);
  return SQLITE_IOERR_SHORT_READ;
}

// After a write that ended here. The log's header is synced before there are frames, so that it is
// never torn in front of zeros. Where there is no room the log grows as it is written.
void grow_log(VfsFile& self, uint64_t end) {
  if (!self.log || end <= self.size_bytes) return;
  self.size_bytes = end;
  const uint64_t grown = std::min(end + kLogStepBytes, self.vfs->log_bytes_max());
  if (end <= kLogHeaderBytes || grown <= end) return;
  static const std::vector<std::byte> zeros(kLogStepBytes);
  const Status status = self.file->write_at(end, ConstBytes(zeros).first(grown - end));
  if (status.ok()) self.size_bytes = grown;
}

int file_write(sqlite3_file* file, const void* data, int length, sqlite3_int64 offset) {
  VfsFile& self = vfs_file(file);
  Status status = self.file->write_at(static_cast<uint64_t>(offset),
                                      as_bytes(data, static_cast<size_t>(length)));
  if (!status.ok()) return self.vfs->failed(std::move(status), SQLITE_IOERR_WRITE);
  grow_log(self, static_cast<uint64_t>(offset + length));
  return SQLITE_OK;
}

int file_truncate(sqlite3_file* file, sqlite3_int64 size) {
  VfsFile& self = vfs_file(file);
  Status status = self.file->truncate(static_cast<uint64_t>(size));
  if (status.ok()) self.size_bytes = static_cast<uint64_t>(size);
  return status.ok() ? SQLITE_OK : self.vfs->failed(std::move(status), SQLITE_IOERR_TRUNCATE);
}

int file_sync(sqlite3_file* file, int) {
  VfsFile& self = vfs_file(file);
  Status status = self.file->sync();
  if (!status.ok()) return self.vfs->failed(std::move(status), SQLITE_IOERR_FSYNC);
  if (self.name_durable) return SQLITE_OK;
  status = self.vfs->disk().sync_dir(disk_name_dir(self.file->name()));
  if (!status.ok()) return self.vfs->failed(std::move(status), SQLITE_IOERR_DIR_FSYNC);
  self.name_durable = true;
  return SQLITE_OK;
}

int file_size(sqlite3_file* file, sqlite3_int64* size) {
  VfsFile& self = vfs_file(file);
  auto bytes = self.file->size_bytes();
  if (!bytes) return self.vfs->failed(std::move(bytes.error()), SQLITE_IOERR_FSTAT);
  *size = static_cast<sqlite3_int64>(*bytes);
  return SQLITE_OK;
}

// The first lock of any level takes the file for this process, until it is closed.
int file_lock(sqlite3_file* file, int) {
  VfsFile& self = vfs_file(file);
  if (self.locked) return SQLITE_OK;
  Status status = self.file->try_lock();
  if (!status.ok()) {
    const int code = status.is(StatusCode::busy) ? SQLITE_BUSY : SQLITE_IOERR_LOCK;
    return self.vfs->failed(std::move(status), code);
  }
  self.locked = true;
  return SQLITE_OK;
}

int file_unlock(sqlite3_file*, int) {
  return SQLITE_OK;
}

// No other connection exists, so nobody else ever holds the reserved lock.
int file_check_reserved(sqlite3_file*, int* reserved) {
  *reserved = 0;
  return SQLITE_OK;
}

int file_control(sqlite3_file*, int, void*) {
  return SQLITE_NOTFOUND;
}

int file_sector_size(sqlite3_file*) {
  return static_cast<int>(kDiskAlignBytes);
}

// A write interrupted by a power failure does not damage the bytes beside it.
int file_characteristics(sqlite3_file*) {
  return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

constexpr sqlite3_io_methods kFileMethods = {
    .iVersion = kVfsVersion,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
};

int vfs_open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  SqliteVfs& self = vfs_of(vfs);
  file->pMethods = nullptr;  // SQLite closes only what has methods
  // Temporary files have no name; Database keeps them in memory.
  if (name == nullptr) return SQLITE_CANTOPEN;
  OpenMode mode = OpenMode::existing;
  if ((flags & SQLITE_OPEN_READONLY) != 0) mode = OpenMode::read_only;
  if ((flags & SQLITE_OPEN_CREATE) != 0) {
    mode = (flags & SQLITE_OPEN_EXCLUSIVE) != 0 ? OpenMode::create_new : OpenMode::create;
  }
  auto opened = self.disk().open(name, mode, OpenKind::cached);
  if (!opened) return self.failed(std::move(opened.error()), SQLITE_CANTOPEN);
  uint64_t size_bytes = 0;
  const bool log = (flags & SQLITE_OPEN_WAL) != 0;
  if (log) {
    auto size = (*opened)->size_bytes();
    if (!size) return self.failed(std::move(size.error()), SQLITE_CANTOPEN);
    size_bytes = *size;
  }
  new (file) VfsFile{.base = {.pMethods = &kFileMethods},
                     .vfs = &self,
                     .file = std::move(*opened),
                     .name_durable = mode == OpenMode::read_only,
                     .delete_on_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0,
                     .locked = false,
                     .log = log,
                     .size_bytes = size_bytes};
  if (out_flags != nullptr) *out_flags = flags;
  return SQLITE_OK;
}

int vfs_delete(sqlite3_vfs* vfs, const char* name, int sync_dir) {
  SqliteVfs& self = vfs_of(vfs);
  Status status = self.disk().remove(name);
  if (status.is(StatusCode::not_found)) return SQLITE_IOERR_DELETE_NOENT;
  if (!status.ok()) return self.failed(std::move(status), SQLITE_IOERR_DELETE);
  if (sync_dir == 0) return SQLITE_OK;
  status = self.disk().sync_dir(disk_name_dir(name));
  return status.ok() ? SQLITE_OK : self.failed(std::move(status), SQLITE_IOERR_DIR_FSYNC);
}

// An empty journal or log counts as absent, as SQLite's own file layer has it.
Result<bool> holds_bytes(Disk& disk, const char* name) {
  auto file = disk.open(name, OpenMode::read_only, OpenKind::cached);
  if (!file) {
    if (file.error().is(StatusCode::not_found)) return false;
    return fail(std::move(file.error()));
  }
  GD2FS_ASSIGN(const uint64_t size_bytes, (*file)->size_bytes());
  return size_bytes > 0;
}

int vfs_access(sqlite3_vfs* vfs, const char* name, int, int* answer) {
  SqliteVfs& self = vfs_of(vfs);
  auto there = holds_bytes(self.disk(), name);
  if (!there) return self.failed(std::move(there.error()), SQLITE_IOERR_ACCESS);
  *answer = *there ? 1 : 0;
  return SQLITE_OK;
}

int vfs_full_pathname(sqlite3_vfs*, const char* name, int out_bytes, char* out) {
  const size_t length = std::strlen(name);
  if (length >= static_cast<size_t>(out_bytes)) return SQLITE_CANTOPEN;
  std::memcpy(out, name, length + 1);
  return SQLITE_OK;
}

int vfs_randomness(sqlite3_vfs*, int length, char* out) {
  for (int i = 0; i < length; ++i) {
    out[i] = static_cast<char>(mix64(static_cast<uint64_t>(i)));
  }
  return length;
}

int vfs_sleep(sqlite3_vfs*, int microseconds) {
  return microseconds;
}

int vfs_current_time(sqlite3_vfs*, double* now) {
  *now = kJulianDay;
  return SQLITE_OK;
}

int vfs_last_error(sqlite3_vfs* vfs, int, char*) {
  return vfs_of(vfs).error().errno_value();
}

}  // namespace

SqliteVfs::SqliteVfs(Disk& disk, uint64_t log_bytes_max)
    : disk_(disk),
      log_bytes_max_(log_bytes_max),
      // The address makes it unique among those that live.
      name_("gd2fs-" + std::to_string(reinterpret_cast<uintptr_t>(this))) {
  vfs_.iVersion = kVfsVersion;
  vfs_.szOsFile = sizeof(VfsFile);
  vfs_.mxPathname = static_cast<int>(kDiskNameMaxBytes);
  vfs_.zName = name_.c_str();
  vfs_.pAppData = this;
  vfs_.xOpen = vfs_open;
  vfs_.xDelete = vfs_delete;
  vfs_.xAccess = vfs_access;
  vfs_.xFullPathname = vfs_full_pathname;
  vfs_.xRandomness = vfs_randomness;
  vfs_.xSleep = vfs_sleep;
  vfs_.xCurrentTime = vfs_current_time;
  vfs_.xGetLastError = vfs_last_error;
  CHECK(sqlite3_vfs_register(&vfs_, 0) == SQLITE_OK);
}

SqliteVfs::~SqliteVfs() {
  sqlite3_vfs_unregister(&vfs_);
}

int SqliteVfs::failed(Status status, int sqlite_code) {
  error_ = std::move(status);
  return error_.is(StatusCode::no_space) ? SQLITE_FULL : sqlite_code;
}

}  // namespace gd2fs
