// Transfer: how far a DiskOp has come. The kernel may move fewer bytes than asked; this says what
// is left, in one place for all engines over real files. A plain value.
#pragma once

#include "disk/local_disk.h"

namespace gd2fs {

class Transfer {
 public:
  void begin(DiskOp& op);
  DiskOp& op() const { return *op_; }
  int fd() const { return static_cast<const LocalFile*>(op_->file)->fd(); }

  // What is left, for preadv and its kind.
  const iovec* iov() const { return iov_ + iov_first_; }
  int iov_count() const { return op_->iov_count - iov_first_; }
  uint64_t offset_bytes() const { return op_->offset_bytes + done_bytes_; }
  uint64_t done_bytes() const { return done_bytes_; }

  // The kernel's answer: bytes moved, or -errno. True when the transfer has ended, with `status`;
  // false when the rest is to be submitted.
  bool advance(ssize_t result);
  Status status;

 private:
  bool end(Status with);
  bool retry(int errno_value);

  // EAGAIN comes from a kernel short of memory; it goes away, or we say busy.
  static constexpr int kRetriesMax = 1000;

  DiskOp* op_ = nullptr;
  iovec iov_[DiskOp::kIovMax] = {};
  int iov_first_ = 0;
  int retries_ = 0;
  uint64_t done_bytes_ = 0;
};

}  // namespace gd2fs
