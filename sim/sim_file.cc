#include "sim/sim_file.h"

namespace gd2fs {

SimFile::~SimFile() {
  inode_->unlock(this);
}

Status SimFile::usable() const {
  if (generation_ != drive_.generation_) {
    return Status(StatusCode::unavailable, "the simulated process is dead");
  }
  if (drive_.hung_) return Status(StatusCode::io, "the simulated drive hangs");
  return {};
}

Status SimFile::changeable() {
  drive_.before_change();
  GD2FS_TRY(usable());
  return writable_ ? Status() : Status(StatusCode::invalid, name_).with("opened read only");
}

Result<size_t> SimFile::read_at(uint64_t offset_bytes, Bytes out) {
  GD2FS_TRY(usable());
  GD2FS_TRY(check_disk_range(offset_bytes, out.size(), kind_, out.data()));
  if (drive_.fault(name_, drive_.faults_.read_error_ppm)) {
    return fail(StatusCode::io, "simulated read error");
  }
  ++drive_.counters_.reads;
  GD2FS_ASSIGN(const size_t got, inode_->read(offset_bytes, out));
  drive_.counters_.read_bytes += got;
  return got;
}

Status SimFile::write_at(uint64_t offset_bytes, ConstBytes data) {
  GD2FS_TRY(changeable());
  GD2FS_TRY(check_disk_range(offset_bytes, data.size(), kind_, data.data()));
  if (drive_.fault(name_, drive_.faults_.write_error_ppm)) {
    return Status(StatusCode::io, "simulated write error");
  }
  if (!drive_.has_room(*inode_, offset_bytes, data.size())) {
    return Status(StatusCode::no_space, name_);
  }
  if (name_ == drive_.ignore_writes_to_) return {};
  ++drive_.counters_.writes;
  drive_.counters_.write_bytes += data.size();
  const uint16_t tear_bytes = kind_ == OpenKind::direct ? drive_.options_.direct_tear_bytes
                                                        : drive_.options_.cached_tear_bytes;
  inode_->write(inode_->new_write_id(), offset_bytes, data, tear_bytes);
  return {};
}

Status SimFile::sync() {
  drive_.before_change();
  GD2FS_TRY(usable());
  ++drive_.counters_.syncs;
  if (drive_.fault(name_, drive_.faults_.sync_error_ppm)) {
    inode_->sync_failed(inode_->mark(), drive_.random_);
    return Status(StatusCode::io, "simulated sync error");
  }
  const SimSync sync{.name = name_, .after_writes = inode_->unsynced_writes()};
  if (!drive_.sync_is_ignored(sync)) inode_->sync(inode_->mark());
  return {};
}

Result<uint64_t> SimFile::size_bytes() {
  GD2FS_TRY(usable());
  return inode_->size_bytes();
}

Status SimFile::truncate(uint64_t size_bytes) {
  GD2FS_TRY(changeable());
  GD2FS_TRY(check_disk_range(size_bytes, 0, OpenKind::cached, nullptr));
  inode_->truncate(size_bytes);
  return {};
}

Status SimFile::allocate(uint64_t offset_bytes, uint64_t length_bytes) {
  GD2FS_TRY(changeable());
  GD2FS_TRY(check_disk_range(offset_bytes, length_bytes, OpenKind::cached, nullptr));
  if (length_bytes == 0) return Status(StatusCode::invalid, "allocate of nothing");
  if (!drive_.has_room(*inode_, offset_bytes, length_bytes)) {
    return Status(StatusCode::no_space, name_);
  }
  inode_->reserve(offset_bytes, length_bytes);
  return {};
}

Status SimFile::try_lock() {
  GD2FS_TRY(usable());
  if (inode_->try_lock(this, generation_, drive_.generation_)) return {};
  return Status(StatusCode::busy, name_).with("locked by another process");
}

}  // namespace gd2fs
