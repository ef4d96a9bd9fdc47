#include <cerrno>
#include <fcntl.h>

#include "base/log.h"
#include "disk/thread_disk.h"
#include "disk/uring_disk.h"

namespace gd2fs {

Result<std::unique_ptr<Disk>> open_disk(Loop& loop, std::string directory, DiskEngine engine) {
  OwnedFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return fail(Status::from_errno(errno, "open " + directory));
  if (engine != DiskEngine::threads) {
    auto disk = UringDisk::make(loop, directory, fd);
    if (disk.has_value() || engine == DiskEngine::io_uring) return disk;
    GD2FS_LOG_WARN("disk {}: no io_uring here ({}); transfers use threads, which is slower",
                   directory, disk.error().to_string());
  }
  return ThreadDisk::make(loop, std::move(directory), std::move(fd));
}

}  // namespace gd2fs
