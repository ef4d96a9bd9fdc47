// The child of a fork: a copy of the parent's memory at some moment, with one thread and copies of
// all descriptors. The sockets must go, or the peers would not notice the parent's end. Nothing
// else may be touched: the epoll set is the parent's too, and locks may be held for ever.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

#include <sys/stat.h>

#include "client/ctx.h"

namespace gd2fs::client {
namespace {

// Closes `fd` if it is still the socket or eventfd that the parent's loop watched under this
// number. Between fork and now the parent may have changed the set, so the inode must agree.
void close_watched(int fd, unsigned long inode) {
  struct stat info{};
  if (fstat(fd, &info) != 0) return;
  if (info.st_ino == inode) ::close(fd);
}

// The kernel lists an epoll set's members in fdinfo: "tfd:        8 events: ... ino:a1b2 sdev:8".
void close_members(int epoll_fd) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/self/fdinfo/%d", epoll_fd);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  static char text[256 * 1024];  // one thread lives here
  size_t length = 0;
  ssize_t got = 0;
  while (length < sizeof text - 1 &&
         (got = read(fd, text + length, sizeof text - 1 - length)) > 0) {
    length += static_cast<size_t>(got);
  }
  ::close(fd);
  text[length] = '\0';
  for (char* line = text; line != nullptr && *line != '\0';) {
    char* end = std::strchr(line, '\n');
    if (end != nullptr) *end = '\0';
    const char* inode = std::strstr(line, "ino:");
    if (std::strncmp(line, "tfd:", 4) == 0 && inode != nullptr) {
      close_watched(static_cast<int>(std::strtol(line + 4, nullptr, 10)),
                    std::strtoul(inode + 4, nullptr, 16));
    }
    line = end == nullptr ? nullptr : end + 1;
  }
}

}  // namespace

void Ctx::close_descriptors_in_child() {
  forked_.store(true);
  // The locks of this ctx may be held by threads that do not exist here, so they are not taken;
  // the fields read here change only while the ctx is made.
  const int epoll_fd = thread_->loop().epoll_fd();
  if (epoll_fd >= 0) {
    close_members(epoll_fd);
    ::close(epoll_fd);
  }
  if (pumps_ != nullptr) {
    pumps_->for_each_epoll_in_child([](int fd) {
      close_members(fd);
      ::close(fd);
    });
  }
  const auto close_fd = [](const Queue& queue) {
    if (const int fd = queue.finished.fd_in_child(); fd >= 0) ::close(fd);
  };
  close_fd(*default_queue_);
  queues_.for_each_locked([&](QueueHandle, const std::unique_ptr<Queue>& queue) {
    if (queue != nullptr) close_fd(*queue);
  });
}

}  // namespace gd2fs::client
