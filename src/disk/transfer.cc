#include "disk/transfer.h"

#include <algorithm>
#include <cerrno>

namespace gd2fs {

void Transfer::begin(DiskOp& op) {
  op_ = &op;
  std::copy_n(op.iov, op.iov_count, iov_);
  iov_first_ = 0;
  retries_ = 0;
  done_bytes_ = 0;
  status = Status();
}

bool Transfer::end(Status with) {
  status = std::move(with);
  return true;
}

bool Transfer::retry(int errno_value) {
  if (errno_value == EINTR) return false;
  return ++retries_ <= kRetriesMax ? false
                                   : end(Status::from_errno(errno_value, op_->file->name()));
}

bool Transfer::advance(ssize_t result) {
  if (result < 0) {
    const int reason = static_cast<int>(-result);
    if (reason == EINTR || reason == EAGAIN) return retry(reason);
    return end(Status::from_errno(reason, op_->file->name()));
  }
  if (op_->kind == DiskOp::Kind::sync) return end({});
  if (result == 0) {  // the end of the file
    if (op_->kind == DiskOp::Kind::read) return end({});
    return end(Status(StatusCode::io, op_->file->name()).with("wrote nothing"));
  }
  done_bytes_ += static_cast<uint64_t>(result);
  for (auto moved = static_cast<size_t>(result); moved > 0;) {
    iovec& part = iov_[iov_first_];
    const size_t piece = std::min(moved, part.iov_len);
    part.iov_base = static_cast<std::byte*>(part.iov_base) + piece;
    part.iov_len -= piece;
    moved -= piece;
    if (part.iov_len == 0) ++iov_first_;
  }
  if (iov_first_ == op_->iov_count) return end({});
  // A read stops at an unaligned place only at the end of the file, and a direct one could not go
  // on from there.
  const bool at_end = op_->kind == DiskOp::Kind::read && !is_aligned(done_bytes_, kDiskAlignBytes);
  return at_end && end({});
}

}  // namespace gd2fs
