#include "disk/uring_disk.h"

#include <cerrno>
#include <unistd.h>

#include <sys/eventfd.h>

#include "base/log.h"

namespace gd2fs {

UringDisk::UringDisk(Loop& loop, std::string path)
    : LocalDisk(std::move(path), OwnedFd()), loop_(loop), transfers_(kOpsMax) {
  watch_.bind<&UringDisk::on_signal>(this);
  flush_.bind<&UringDisk::on_flush>(this);
  refill_.bind<&UringDisk::on_flush>(this);
  flush_retry_.bind<&UringDisk::on_retry>(this);
  free_.reserve(kOpsMax);
  for (Transfer& transfer : transfers_) free_.push_back(&transfer);
}

Result<std::unique_ptr<Disk>> UringDisk::make(Loop& loop, std::string path, OwnedFd& directory) {
  std::unique_ptr<UringDisk> disk(new UringDisk(loop, std::move(path)));
  GD2FS_TRY(disk->start());
  disk->take_directory(std::move(directory));
  return disk;
}

Status UringDisk::start() {
  io_uring_params params{};
  // Both queues hold every transfer there can be.
  params.flags = IORING_SETUP_CQSIZE;
  params.cq_entries = 2 * kOpsMax;
  const int made = io_uring_queue_init_params(kOpsMax, &ring_, &params);
  if (made < 0) return Status::from_errno(-made, "io_uring_setup");
  ring_made_ = true;
  GD2FS_TRY(probe());
  event_ = OwnedFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event_.valid()) return Status::from_errno(errno, "eventfd");
  const int registered = io_uring_register_eventfd(&ring_, event_.get());
  if (registered < 0) return Status::from_errno(-registered, "io_uring_register_eventfd");
  // An edge for each signal: nobody needs to read the count.
  GD2FS_TRY(loop_.watch(watch_, event_.get(), EPOLLIN | EPOLLET));
  loop_.add(*this);
  return {};
}

Status UringDisk::probe() {
  std::unique_ptr<io_uring_probe, decltype(&io_uring_free_probe)> known(
      io_uring_get_probe_ring(&ring_), io_uring_free_probe);
  if (known == nullptr) return Status(StatusCode::unsupported, "io_uring_register_probe");
  for (const int code : {IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC}) {
    if (!io_uring_opcode_supported(known.get(), code)) {
      return Status(StatusCode::unsupported, "io_uring operation " + std::to_string(code));
    }
  }
  io_uring_prep_nop(io_uring_get_sqe(&ring_));
  const int sent = io_uring_submit_and_wait(&ring_, 1);
  if (sent < 0) return Status::from_errno(-sent, "io_uring_enter");
  io_uring_cqe* entry = nullptr;
  if (io_uring_peek_cqe(&ring_, &entry) != 0 || entry->res < 0) {
    return Status(StatusCode::unsupported, "io_uring no-op failed");
  }
  io_uring_cqe_seen(&ring_, entry);
  return {};
}

UringDisk::~UringDisk() {
  if (!ring_made_) return;
  loop_.remove(*this);
  loop_.unwatch(watch_);
  loop_.cancel(flush_retry_);
  while (free_.size() < transfers_.size()) {
    io_uring_submit_and_wait(&ring_, 1);
    io_uring_cqe* entry = nullptr;
    while (io_uring_peek_cqe(&ring_, &entry) == 0) {
      free_.push_back(static_cast<Transfer*>(io_uring_cqe_get_data(entry)));
      io_uring_cqe_seen(&ring_, entry);
    }
  }
  io_uring_queue_exit(&ring_);
}

void UringDisk::submit(DiskOp& op) {
  op.done.start();
  Status status = check(op);
  if (status.ok() && free_.empty()) status = Status(StatusCode::busy, "disk kOpsMax reached");
  if (!status.ok()) {
    loop_.complete(op.done, std::move(status));
    return;
  }
  Transfer& transfer = *free_.back();
  free_.pop_back();
  transfer.begin(op);
  push(transfer);
  // The kernel takes a tenth of a millisecond for some megabytes. A drive with nothing to do begins
  // meanwhile.
  const bool kernel_has_none = transfers_.size() - free_.size() == io_uring_sq_ready(&ring_);
  if (kernel_has_none && op.length_bytes() >= kAtOnceBytes && !flush_retry_.running()) flush();
}

void UringDisk::push(Transfer& transfer) {
  io_uring_sqe* entry = io_uring_get_sqe(&ring_);
  CHECK(entry != nullptr);  // the queue has room for every transfer there is
  const auto parts = static_cast<unsigned>(transfer.iov_count());
  switch (transfer.op().kind) {
    case DiskOp::Kind::read:
      io_uring_prep_readv(entry, transfer.fd(), transfer.iov(), parts, transfer.offset_bytes());
      break;
    case DiskOp::Kind::write:
      io_uring_prep_writev(entry, transfer.fd(), transfer.iov(), parts, transfer.offset_bytes());
      break;
    case DiskOp::Kind::sync:
      io_uring_prep_fsync(entry, transfer.fd(), IORING_FSYNC_DATASYNC);
      break;
  }
  io_uring_sqe_set_data(entry, &transfer);
  if (!flush_.pending() && !flush_retry_.running()) loop_.complete(flush_, Status());
}

void UringDisk::on_flush(Completion&) {
  flush();
}

void UringDisk::on_retry(Completion&) {
  flush();
}

void UringDisk::flush() {
  while (io_uring_sq_ready(&ring_) > 0) {
    const int sent = io_uring_submit(&ring_);
    if (sent > 0 || sent == -EINTR) continue;
    // EAGAIN or EBUSY: the kernel lacks memory. The entries stay where they are.
    loop_.start(flush_retry_, kFlushRetryNs);
    return;
  }
}

bool UringDisk::arm() {
  return io_uring_cq_ready(&ring_) == 0;
}

size_t UringDisk::poll() {
  if (free_.size() == kOpsMax) return 0;  // nothing is in the ring
  size_t ended = 0;
  io_uring_cqe* entry = nullptr;
  while (io_uring_peek_cqe(&ring_, &entry) == 0) {
    auto& transfer = *static_cast<Transfer*>(io_uring_cqe_get_data(entry));
    const int result = entry->res;
    io_uring_cqe_seen(&ring_, entry);
    ++ended;
    if (transfer.advance(result)) {
      finish(transfer);
    } else {
      push(transfer);
    }
  }
  // What ended makes room for the drive's next transfers. They go to it now, and not behind
  // milliseconds of checksums and sends that are queued in the loop.
  if (ended > 0 && !refill_.pending()) loop_.complete_first(refill_, Status());
  return ended;
}

void UringDisk::finish(Transfer& transfer) {
  DiskOp& op = transfer.op();
  const uint64_t value = transfer.status.ok() ? transfer.done_bytes() : 0;
  free_.push_back(&transfer);
  // First: what follows gives the drive its next transfer, and may be behind milliseconds of
  // others' checksums and sends.
  loop_.complete_first(op.done, std::move(transfer.status), value);
}

}  // namespace gd2fs
