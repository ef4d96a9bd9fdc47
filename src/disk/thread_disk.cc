#include "disk/thread_disk.h"

#include <cerrno>
#include <unistd.h>

#include <sys/eventfd.h>
#include <sys/uio.h>

#include "base/quiet_thread.h"
#include "disk/transfer.h"

namespace gd2fs {
namespace {

ssize_t call_kernel(const Transfer& transfer) {
  const auto offset = static_cast<off_t>(transfer.offset_bytes());
  ssize_t result = 0;
  switch (transfer.op().kind) {
    case DiskOp::Kind::read:
      result = preadv(transfer.fd(), transfer.iov(), transfer.iov_count(), offset);
      break;
    case DiskOp::Kind::write:
      result = pwritev(transfer.fd(), transfer.iov(), transfer.iov_count(), offset);
      break;
    case DiskOp::Kind::sync:
      result = fdatasync(transfer.fd());
      break;
  }
  return result < 0 ? -errno : result;
}

}  // namespace

ThreadDisk::ThreadDisk(Loop& loop, std::string path, OwnedFd directory)
    : LocalDisk(std::move(path), std::move(directory)), loop_(loop) {
  watch_.bind<&ThreadDisk::on_finished>(this);
}

Result<std::unique_ptr<Disk>> ThreadDisk::make(Loop& loop, std::string path, OwnedFd directory) {
  std::unique_ptr<ThreadDisk> disk(new ThreadDisk(loop, std::move(path), std::move(directory)));
  GD2FS_TRY(disk->start());
  return disk;
}

Status ThreadDisk::start() {
  event_ = OwnedFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event_.valid()) return Status::from_errno(errno, "eventfd");
  GD2FS_TRY(loop_.watch(watch_, event_.get(), EPOLLIN));
  threads_.reserve(kThreads);
  for (int i = 0; i < kThreads; ++i) {
    threads_.push_back(start_quiet_thread("gd2fs-disk", [this] { run(); }));
  }
  return {};
}

ThreadDisk::~ThreadDisk() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  loop_.unwatch(watch_);
}

void ThreadDisk::submit(DiskOp& op) {
  op.done.start();
  Status status = check(op);
  if (status.ok() && ops_pending_ == kOpsMax) {
    status = Status(StatusCode::busy, "disk kOpsMax reached");
  }
  if (!status.ok()) {
    loop_.complete(op.done, std::move(status));
    return;
  }
  ++ops_pending_;
  {
    std::lock_guard lock(mutex_);
    waiting_.push_back(op);
  }
  wake_.notify_one();
}

void ThreadDisk::run() {
  Transfer transfer;
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    DiskOp* op = waiting_.pop_front();
    if (op == nullptr) {
      wake_.wait(lock);
      continue;
    }
    lock.unlock();
    transfer.begin(*op);
    while (!transfer.advance(call_kernel(transfer))) {
    }
    op->done.status = std::move(transfer.status);
    op->done.value = op->done.status.ok() ? transfer.done_bytes() : 0;
    lock.lock();
    const bool first = finished_.empty();
    finished_.push_back(*op);
    if (first) {
      const uint64_t one = 1;
      [[maybe_unused]] const ssize_t put = write(event_.get(), &one, sizeof one);
    }
  }
}

void ThreadDisk::on_finished(uint32_t) {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = read(event_.get(), &count, sizeof count);
  std::lock_guard lock(mutex_);
  while (DiskOp* op = finished_.pop_front()) {
    --ops_pending_;
    loop_.complete(op->done, std::move(op->done.status), op->done.value);
  }
}

}  // namespace gd2fs
