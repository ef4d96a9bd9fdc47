#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

#include <sys/file.h>
#include <sys/stat.h>

#include "disk/local_disk.h"
#include "disk/rules.h"

namespace gd2fs {
namespace {

// A system call, again after a signal.
template <class Call>
auto again(Call call) {
  for (;;) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

}  // namespace

Status LocalFile::failed(int errno_value, std::string_view what) const {
  return Status::from_errno(errno_value, std::string(what) + " " + name_);
}

Result<size_t> LocalFile::read_at(uint64_t offset_bytes, Bytes out) {
  GD2FS_TRY(check_disk_range(offset_bytes, out.size(), kind_, out.data()));
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t got = again([&] {
      return pread(fd_.get(), out.data() + done, out.size() - done,
                   static_cast<off_t>(offset_bytes + done));
    });
    if (got < 0) return fail(failed(errno, "read"));
    done += static_cast<size_t>(got);
    // A direct read goes on only from an aligned place, and stops elsewhere only at the end.
    if (got == 0 || (kind_ == OpenKind::direct && !is_aligned(done, kDiskAlignBytes))) break;
  }
  return done;
}

Status LocalFile::write_at(uint64_t offset_bytes, ConstBytes data) {
  GD2FS_TRY(check_disk_range(offset_bytes, data.size(), kind_, data.data()));
  size_t done = 0;
  while (done < data.size()) {
    const ssize_t put = again([&] {
      return pwrite(fd_.get(), data.data() + done, data.size() - done,
                    static_cast<off_t>(offset_bytes + done));
    });
    if (put < 0) return failed(errno, "write");
    if (put == 0) return failed(EIO, "write of nothing to");
    done += static_cast<size_t>(put);
  }
  return {};
}

Status LocalFile::sync() {
  if (again([&] { return fdatasync(fd_.get()); }) != 0) return failed(errno, "sync");
  return {};
}

Result<uint64_t> LocalFile::size_bytes() {
  struct stat info{};
  if (fstat(fd_.get(), &info) != 0) return fail(failed(errno, "stat"));
  return static_cast<uint64_t>(info.st_size);
}

Status LocalFile::truncate(uint64_t size_bytes) {
  GD2FS_TRY(check_disk_range(size_bytes, 0, OpenKind::cached, nullptr));
  if (again([&] { return ftruncate(fd_.get(), static_cast<off_t>(size_bytes)); }) != 0) {
    return failed(errno, "truncate");
  }
  return {};
}

Status LocalFile::allocate(uint64_t offset_bytes, uint64_t length_bytes) {
  GD2FS_TRY(check_disk_range(offset_bytes, length_bytes, OpenKind::cached, nullptr));
  GD2FS_ASSIGN(const uint64_t before_bytes, this->size_bytes());
  if (again([&] {
        return fallocate(fd_.get(), 0, static_cast<off_t>(offset_bytes),
                         static_cast<off_t>(length_bytes));
      }) == 0) {
    return {};
  }
  Status status = failed(errno, "allocate");
  // A file system that ran full on the way may have grown the file.
  GD2FS_ASSIGN(const uint64_t after_bytes, this->size_bytes());
  if (after_bytes > before_bytes) GD2FS_TRY(truncate(before_bytes));
  return status;
}

// flock: held by this open file, so a second open of the same process is kept out as well.
Status LocalFile::try_lock() {
  if (again([&] { return flock(fd_.get(), LOCK_EX | LOCK_NB); }) == 0) return {};
  if (errno == EWOULDBLOCK)
    return Status(StatusCode::busy, name_).with("locked by another process");
  return failed(errno, "lock");
}

}  // namespace gd2fs
