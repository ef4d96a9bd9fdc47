#include "sim/sim_disk.h"

#include "disk/rules.h"
#include "sim/sim_file.h"

namespace gd2fs {

SimDisk::SimDisk(Loop& loop, SimDrive& drive)
    : loop_(loop), drive_(drive), generation_(drive.generation_) {
  drive_.disks_.push_back(*this);
}

SimDisk::~SimDisk() = default;  // what is pending never happens; its buffers may be gone already

Status SimDisk::usable() const {
  if (generation_ != drive_.generation_) {
    return Status(StatusCode::unavailable, "the simulated process is dead");
  }
  if (drive_.hung_) return Status(StatusCode::io, "the simulated drive hangs");
  return {};
}

Status SimDisk::check(const DiskOp& op) const {
  GD2FS_TRY(check_disk_op(op));
  auto& file = static_cast<SimFile&>(*op.file);
  if (file.generation() != generation_) {
    return Status(StatusCode::unavailable, "the file was opened by a dead process");
  }
  return check_disk_access(op, file.kind(), file.writable());
}

SimDisk::Pending& SimDisk::take_pending() {
  if (free_.empty()) {
    auto made = std::make_unique<Pending>();
    made->disk = this;
    made->due.bind<&Pending::on_due>(made.get());
    free_.push_back(made.get());
    pending_.push_back(std::move(made));
  }
  Pending* pending = free_.back();
  free_.pop_back();
  return *pending;
}

void SimDisk::submit(DiskOp& op) {
  op.done.start();
  if (generation_ != drive_.generation_) return;  // the process is dead: nothing happens any more
  if (Status status = check(op); !status.ok()) {
    loop_.complete(op.done, std::move(status));
    return;
  }
  if (ops_pending_ == kOpsMax) {
    loop_.complete(op.done, Status(StatusCode::busy, "disk kOpsMax reached"));
    return;
  }
  ++ops_pending_;
  Pending& pending = take_pending();
  pending.op = &op;
  pending.held = false;
  pending.sync_mark = static_cast<SimFile&>(*op.file).inode().mark();
  loop_.start(pending.due, drive_.draw_delay_ns(op.kind));
}

void SimDisk::on_due(Pending& pending) {
  if (drive_.hung_) {
    pending.held = true;
  } else {
    finish(pending);
  }
}

void SimDisk::resume() {
  for (auto& pending : pending_) {
    if (pending->op == nullptr || !pending->held) continue;
    pending->held = false;
    loop_.start(pending->due, drive_.draw_delay_ns(pending->op->kind));
  }
}

void SimDisk::finish(Pending& pending) {
  DiskOp& op = *pending.op;
  if (op.kind != DiskOp::Kind::read) drive_.before_change();
  if (generation_ != drive_.generation_) return;  // die() dealt with this one
  Status status;
  uint64_t value = 0;
  switch (op.kind) {
    case DiskOp::Kind::read:
      status = do_read(op, &value);
      break;
    case DiskOp::Kind::write:
      status = do_write(op, &value);
      break;
    case DiskOp::Kind::sync: {
      auto& file = static_cast<SimFile&>(*op.file);
      ++drive_.counters_.syncs;
      if (drive_.fault(file.name(), drive_.faults_.sync_error_ppm)) {
        file.inode().sync_failed(pending.sync_mark, drive_.random_);
        status = Status(StatusCode::io, "simulated sync error");
      } else if (const SimSync sync{.name = file.name(),
                                    .submitted = true,
                                    .after_writes = file.inode().unsynced_writes()};
                 !drive_.sync_is_ignored(sync)) {
        file.inode().sync(pending.sync_mark);
      }
      break;
    }
  }
  pending.op = nullptr;
  free_.push_back(&pending);
  --ops_pending_;
  loop_.complete(op.done, std::move(status), value);
}

Status SimDisk::do_read(const DiskOp& op, uint64_t* value) {
  auto& file = static_cast<SimFile&>(*op.file);
  ++drive_.counters_.reads;
  if (drive_.fault(file.name(), drive_.faults_.read_error_ppm)) {
    return Status(StatusCode::io, "simulated read error");
  }
  uint64_t done = 0;
  for (int i = 0; i < op.iov_count; ++i) {
    const Bytes out = as_writable_bytes(op.iov[i].iov_base, op.iov[i].iov_len);
    GD2FS_ASSIGN(const size_t got, file.inode().read(op.offset_bytes + done, out));
    if (got > 0 && drive_.fault(file.name(), drive_.faults_.flip_read_ppm)) {
      out[drive_.random_.below(got)] ^= std::byte{1} << drive_.random_.below(8);
    }
    done += got;
    if (got < out.size()) break;
  }
  drive_.counters_.read_bytes += done;
  *value = done;
  return {};
}

Status SimDisk::do_write(const DiskOp& op, uint64_t* value) {
  auto& file = static_cast<SimFile&>(*op.file);
  ++drive_.counters_.writes;
  if (drive_.fault(file.name(), drive_.faults_.write_error_ppm)) {
    land_in_part(op);
    return Status(StatusCode::io, "simulated write error");
  }
  const uint64_t length_bytes = op.length_bytes();
  if (!drive_.has_room(file.inode(), op.offset_bytes, length_bytes)) {
    return Status(StatusCode::no_space, file.name());
  }
  drive_.counters_.write_bytes += length_bytes;
  *value = length_bytes;
  if (drive_.fault(file.name(), drive_.faults_.lose_write_ppm)) return {};
  const uint32_t id = file.inode().new_write_id();
  uint64_t at = op.offset_bytes;
  for (int i = 0; i < op.iov_count; ++i) {
    file.inode().write(id, at, as_bytes(op.iov[i].iov_base, op.iov[i].iov_len),
                       drive_.options_.direct_tear_bytes);
    at += op.iov[i].iov_len;
  }
  return {};
}

void SimDisk::land_in_part(const DiskOp& op) {
  auto& file = static_cast<SimFile&>(*op.file);
  if (!drive_.has_room(file.inode(), op.offset_bytes, op.length_bytes())) return;
  // Now and then the whole write: many sectors would hardly ever all land by chance.
  const bool whole = drive_.random_.chance(1, 3);
  const auto landing_percent = whole ? 100u : static_cast<uint32_t>(drive_.random_.below(101));
  const uint32_t id = file.inode().new_write_id();
  uint64_t at = op.offset_bytes;
  for (int i = 0; i < op.iov_count; ++i) {
    const ConstBytes data = as_bytes(op.iov[i].iov_base, op.iov[i].iov_len);
    for (size_t done = 0; done < data.size(); done += kSimSectorBytes) {
      if (!drive_.random_.chance(landing_percent, 100)) continue;
      file.inode().write(id, at + done, data.subspan(done, kSimSectorBytes),
                         drive_.options_.direct_tear_bytes);
    }
    at += data.size();
  }
}

void SimDisk::die(bool power_fails) {
  for (auto& pending : pending_) {
    if (pending->op == nullptr) continue;
    loop_.cancel(pending->due);
    const DiskOp& op = *pending->op;
    // A process that dies takes nothing back: its writes are the kernel's. In a power failure they
    // are in the drive's cache at best, and land_in_part puts them there.
    const bool may_land = power_fails ? drive_.random_.chance(1, 2) : drive_.random_.chance(9, 10);
    if (op.kind == DiskOp::Kind::write && may_land) land_in_part(op);
    pending->op = nullptr;
  }
  ops_pending_ = 0;
}

Result<std::unique_ptr<DiskFile>> SimDisk::open(std::string_view name, OpenMode mode,
                                                OpenKind kind) {
  GD2FS_TRY(usable());
  GD2FS_TRY(check_disk_name(name));
  SimNames::File inode;
  auto found = drive_.names_.find(name);
  if (found) {
    if (mode == OpenMode::create_new) return fail(StatusCode::exists, name);
    inode = *found;
  } else if (!found.error().is(StatusCode::not_found)) {
    return fail(mode == OpenMode::create_new ? Status(StatusCode::exists, name) : found.error());
  } else {
    if (mode != OpenMode::create && mode != OpenMode::create_new) return fail(found.error());
    drive_.before_change();
    GD2FS_TRY(usable());
    inode = std::make_shared<SimInode>(drive_.pages_);
    GD2FS_TRY(drive_.names_.create(name, inode));
    drive_.folder_changed(name, "create");
  }
  return std::make_unique<SimFile>(std::string(name), drive_, generation_, std::move(inode), kind,
                                   mode != OpenMode::read_only);
}

Result<bool> SimDisk::exists(std::string_view name) {
  GD2FS_TRY(usable());
  GD2FS_TRY(check_disk_name(name));
  return drive_.names_.exists(name);
}

Status SimDisk::remove(std::string_view name) {
  drive_.before_change();
  GD2FS_TRY(usable());
  GD2FS_TRY(check_disk_name(name));
  GD2FS_TRY(drive_.names_.remove(name));
  drive_.folder_changed(name, "remove");
  return {};
}

Status SimDisk::rename(std::string_view from, std::string_view to) {
  drive_.before_change();
  GD2FS_TRY(usable());
  GD2FS_TRY(check_disk_name(from));
  GD2FS_TRY(check_disk_name(to));
  GD2FS_TRY(drive_.names_.rename(from, to));
  drive_.folder_changed(from, "rename");
  drive_.folder_changed(to, "rename");
  return {};
}

Status SimDisk::make_dir(std::string_view name) {
  drive_.before_change();
  GD2FS_TRY(usable());
  GD2FS_TRY(check_disk_name(name));
  if (drive_.names_.is_dir(name)) return {};
  GD2FS_TRY(drive_.names_.make_dir(name));
  drive_.folder_changed(name, "make_dir");
  return {};
}

Status SimDisk::sync_dir(std::string_view name) {
  drive_.before_change();
  GD2FS_TRY(usable());
  GD2FS_TRY(check_disk_dir(name));
  ++drive_.counters_.dir_syncs;
  const auto changed = drive_.folder_changes_.find(name);
  const SimSync sync{
      .name = name,
      .of_folder = true,
      .after = changed == drive_.folder_changes_.end() ? std::string_view() : changed->second};
  if (drive_.sync_is_ignored(sync)) return {};
  return drive_.names_.sync_dir(name);
}

Result<std::vector<std::string>> SimDisk::list(std::string_view dir) {
  GD2FS_TRY(usable());
  GD2FS_TRY(check_disk_dir(dir));
  return drive_.names_.list(dir);
}

Result<DiskSpace> SimDisk::space() {
  GD2FS_TRY(usable());
  const uint64_t total = drive_.options_.capacity_bytes;
  const uint64_t used = drive_.used_bytes();
  return DiskSpace{.total_bytes = total, .free_bytes = used < total ? total - used : 0};
}

}  // namespace gd2fs
