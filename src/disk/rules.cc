#include "disk/rules.h"

#include <cstdlib>

namespace gd2fs {

Status check_disk_name(std::string_view name) {
  if (name.empty() || name.size() > kDiskNameMaxBytes || name.contains('\0')) {
    return Status(StatusCode::invalid, "disk name is empty, too long or holds a zero byte");
  }
  for (size_t begin = 0;;) {
    const size_t slash = name.find('/', begin);
    const std::string_view part = name.substr(begin, slash - begin);
    if (part.empty() || part == "." || part == ".." || part.size() > kDiskComponentMaxBytes) {
      return Status(StatusCode::invalid, name).with("disk name is not plain and relative");
    }
    if (slash == std::string_view::npos) return {};
    begin = slash + 1;
  }
}

Status check_disk_dir(std::string_view name) {
  return name.empty() ? Status() : check_disk_name(name);
}

std::string_view disk_name_dir(std::string_view name) {
  const size_t slash = name.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : name.substr(0, slash);
}

Status check_disk_op(const DiskOp& op) {
  if (op.file == nullptr) return Status(StatusCode::invalid, "disk transfer without a file");
  if (op.kind == DiskOp::Kind::sync) return {};
  if (op.iov_count < 1 || op.iov_count > DiskOp::kIovMax) {
    return Status(StatusCode::invalid, "disk transfer with no buffer or too many");
  }
  uint64_t length_bytes = 0;
  for (int i = 0; i < op.iov_count; ++i) {
    const iovec& part = op.iov[i];
    if (part.iov_len == 0 || part.iov_len > kDiskTransferMaxBytes - length_bytes) {
      return Status(StatusCode::invalid, "disk transfer with an empty or too long buffer");
    }
    length_bytes += part.iov_len;
    GD2FS_TRY(check_disk_range(op.offset_bytes, part.iov_len, OpenKind::direct, part.iov_base));
  }
  return {};
}

Status check_disk_access(const DiskOp& op, OpenKind kind, bool writable) {
  if (op.kind == DiskOp::Kind::sync) return {};
  if (kind != OpenKind::direct) {
    return Status(StatusCode::invalid, op.file->name()).with("cached file takes no transfers");
  }
  if (op.kind == DiskOp::Kind::write && !writable) {
    return Status(StatusCode::invalid, op.file->name()).with("opened read only");
  }
  return {};
}

Status check_disk_range(uint64_t offset_bytes, uint64_t length_bytes, OpenKind kind,
                        const void* address) {
  if (offset_bytes > kDiskFileMaxBytes || length_bytes > kDiskFileMaxBytes - offset_bytes) {
    return Status(StatusCode::invalid, "disk range is beyond the largest file");
  }
  const uint64_t all = offset_bytes | length_bytes | reinterpret_cast<uintptr_t>(address);
  if (kind == OpenKind::direct && !is_aligned(all, kDiskAlignBytes)) {
    return Status(StatusCode::invalid, "direct disk transfer is not aligned to 4096 bytes");
  }
  return {};
}

AlignedBuffer::AlignedBuffer(size_t length_bytes) : length_bytes_(length_bytes) {
  // std::aligned_alloc wants a multiple of the alignment.
  const size_t rounded = align_up(length_bytes == 0 ? 1 : length_bytes, kDiskAlignBytes);
  data_.reset(static_cast<std::byte*>(std::aligned_alloc(kDiskAlignBytes, rounded)));
  CHECK(data_ != nullptr);
}

void AlignedBuffer::Free::operator()(std::byte* p) const {
  std::free(p);
}

}  // namespace gd2fs
