#include "disk/local_disk.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <unistd.h>

#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/log.h"
#include "disk/rules.h"

namespace gd2fs {
namespace {

constexpr mode_t kFileMode = 0600;  // chunks are nobody else's to read
constexpr mode_t kFolderMode = 0700;

int open_flags(OpenMode mode) {
  switch (mode) {
    case OpenMode::existing:
      return O_RDWR;
    case OpenMode::create:
      return O_RDWR | O_CREAT;
    case OpenMode::create_new:
      return O_RDWR | O_CREAT | O_EXCL;
    case OpenMode::read_only:
      return O_RDONLY;
  }
  return O_RDONLY;
}

}  // namespace

OwnedFd::~OwnedFd() {
  if (fd_ >= 0) close(fd_);
}

Status LocalDisk::failed(int errno_value, std::string_view what, std::string_view name) const {
  std::string text(what);
  text += " ";
  text += path_;
  text += "/";
  text += name;
  return Status::from_errno(errno_value, text);
}

Status LocalDisk::check(const DiskOp& op) {
  GD2FS_TRY(check_disk_op(op));
  const auto& file = static_cast<const LocalFile&>(*op.file);
  return check_disk_access(op, file.kind(), file.writable());
}

Result<std::unique_ptr<DiskFile>> LocalDisk::open(std::string_view name, OpenMode mode,
                                                  OpenKind kind) {
  GD2FS_TRY(check_disk_name(name));
  const std::string text(name);
  OwnedFd fd(openat(directory_.get(), text.c_str(), open_flags(mode) | O_CLOEXEC, kFileMode));
  if (!fd.valid()) return fail(failed(errno, "open", name));
  struct stat info{};
  if (fstat(fd.get(), &info) != 0) return fail(failed(errno, "stat", name));
  if (!S_ISREG(info.st_mode)) return fail(failed(EISDIR, "open", name));
  if (kind == OpenKind::direct) GD2FS_TRY(make_direct(fd.get(), name));
  return std::make_unique<LocalFile>(text, std::move(fd), kind, mode != OpenMode::read_only);
}

// O_DIRECT is set after the open, because an open that fails for it has already made the file.
Status LocalDisk::make_direct(int fd, std::string_view name) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags >= 0 && fcntl(fd, F_SETFL, flags | O_DIRECT) == 0) return {};
  if (errno != EINVAL) return failed(errno, "set O_DIRECT", name);
  if (!cached_warned_.exchange(true)) {
    GD2FS_LOG_WARN("disk {}: the file system has no O_DIRECT; transfers go through the page cache",
                   path_);
  }
  return {};
}

Result<bool> LocalDisk::exists(std::string_view name) {
  GD2FS_TRY(check_disk_name(name));
  struct stat info{};
  if (fstatat(directory_.get(), std::string(name).c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
    return true;
  }
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return fail(failed(errno, "stat", name));
}

Status LocalDisk::remove(std::string_view name) {
  GD2FS_TRY(check_disk_name(name));
  if (unlinkat(directory_.get(), std::string(name).c_str(), 0) == 0) return {};
  return failed(errno, "remove", name);
}

Status LocalDisk::rename(std::string_view from, std::string_view to) {
  GD2FS_TRY(check_disk_name(from));
  GD2FS_TRY(check_disk_name(to));
  const std::string text(from);
  struct stat info{};
  if (fstatat(directory_.get(), text.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    return failed(errno, "rename", from);
  }
  if (S_ISDIR(info.st_mode)) return failed(EISDIR, "rename", from);
  if (renameat(directory_.get(), text.c_str(), directory_.get(), std::string(to).c_str()) == 0) {
    return {};
  }
  return failed(errno, "rename to", to);
}

Status LocalDisk::make_dir(std::string_view name) {
  GD2FS_TRY(check_disk_name(name));
  const std::string text(name);
  if (mkdirat(directory_.get(), text.c_str(), kFolderMode) == 0) return {};
  const int reason = errno;
  struct stat info{};
  if (reason == EEXIST && fstatat(directory_.get(), text.c_str(), &info, 0) == 0 &&
      S_ISDIR(info.st_mode)) {
    return {};
  }
  return failed(reason, "make folder", name);
}

Result<OwnedFd> LocalDisk::open_dir(std::string_view name) const {
  const std::string text(name.empty() ? "." : name);
  OwnedFd fd(openat(directory_.get(), text.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return fail(failed(errno, "open folder", name));
  return fd;
}

Status LocalDisk::sync_dir(std::string_view name) {
  GD2FS_TRY(check_disk_dir(name));
  GD2FS_ASSIGN(const OwnedFd fd, open_dir(name));
  if (fsync(fd.get()) != 0) return failed(errno, "sync folder", name);
  return {};
}

Result<std::vector<std::string>> LocalDisk::list(std::string_view dir) {
  GD2FS_TRY(check_disk_dir(dir));
  // Through the open directory, so that the disk stays the same one if its path is renamed.
  GD2FS_ASSIGN(const OwnedFd fd, open_dir(dir));
  std::vector<std::string> names;
  std::error_code error;
  const std::filesystem::path path = "/proc/self/fd/" + std::to_string(fd.get());
  for (std::filesystem::directory_iterator it(path, error), end; !error && it != end;
       it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  if (error) return fail(failed(error.value(), "list", dir));
  std::ranges::sort(names);
  return names;
}

Result<DiskSpace> LocalDisk::space() {
  struct statvfs info{};
  if (fstatvfs(directory_.get(), &info) != 0) return fail(failed(errno, "statvfs", ""));
  return DiskSpace{.total_bytes = info.f_blocks * info.f_frsize,
                   .free_bytes = info.f_bavail * info.f_frsize};
}

}  // namespace gd2fs
