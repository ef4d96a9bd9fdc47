#include "sim/sim_drive.h"

#include "disk/rules.h"
#include "sim/sim_disk.h"

namespace gd2fs {

SimDrive::SimDrive(std::string name, uint64_t seed, SimDriveOptions options)
    : name_(std::move(name)),
      random_(seed),
      options_(options),
      pages_(std::make_shared<SimPages>()) {}

SimDrive::~SimDrive() {
  CHECK(disks_.empty());
}

void SimDrive::detach_all(bool power_fails) {
  ++generation_;
  folder_changes_.clear();
  while (SimDisk* disk = disks_.pop_front()) disk->die(power_fails);
  hung_ = false;
  changes_to_crash_ = changes_to_kill_ = 0;
}

void SimDrive::before_change() {
  const bool crashes = changes_to_crash_ == 1;
  const bool dies = changes_to_kill_ == 1;
  if (changes_to_crash_ > 0) --changes_to_crash_;
  if (changes_to_kill_ > 0) --changes_to_kill_;
  if (crashes) {
    crash();
  } else if (dies) {
    kill();
  }
}

void SimDrive::crash() {
  detach_all(true);
  const SimCrash fate = SimCrash::draw(random_);
  names_.crash(random_, fate);
  names_.visit_files([&](SimInode& inode) { inode.crash(random_, fate); });
}

void SimDrive::kill() {
  detach_all(false);
}

void SimDrive::resume() {
  hung_ = false;
  for (SimDisk* disk = disks_.front(); disk != nullptr; disk = disks_.next(*disk)) disk->resume();
}

Status SimDrive::flip(std::string_view name, uint64_t offset_bytes, std::byte mask) {
  GD2FS_ASSIGN(auto inode, names_.find(name));
  inode->flip(offset_bytes, mask);
  return {};
}

Status SimDrive::set_unreadable(std::string_view name, uint64_t offset_bytes) {
  GD2FS_ASSIGN(auto inode, names_.find(name));
  inode->set_unreadable(offset_bytes);
  return {};
}

void SimDrive::ignore_syncs(std::string name_prefix, uint64_t honest, uint64_t ignored) {
  ignore_syncs(
      [prefix = std::move(name_prefix)](const SimSync& sync) {
        return !sync.of_folder && sync.name.starts_with(prefix);
      },
      honest, ignored);
}

void SimDrive::ignore_syncs(std::function<bool(const SimSync&)> which, uint64_t honest,
                            uint64_t ignored) {
  ignore_which_ = std::move(which);
  ignore_honest_ = honest;
  ignore_left_ = ignored;
}

bool SimDrive::sync_is_ignored(const SimSync& sync) {
  if (sync.of_folder && ignore_dir_syncs_) return true;
  if (ignore_left_ == 0 || !ignore_which_(sync)) return false;
  if (ignore_honest_ > 0) {
    --ignore_honest_;
    return false;
  }
  --ignore_left_;
  ++counters_.ignored_syncs;
  return true;
}

void SimDrive::folder_changed(std::string_view name, std::string_view how) {
  std::string& change = folder_changes_[std::string(disk_name_dir(name))];
  change = how;
  change += ' ';
  change += name;
}

uint64_t SimDrive::draw_delay_ns(DiskOp::Kind kind) {
  const SimDelay& delay = kind == DiskOp::Kind::read    ? options_.read
                          : kind == DiskOp::Kind::write ? options_.write
                                                        : options_.sync;
  const uint64_t ns = random_.between(delay.min_ns, delay.max_ns);
  const bool slow = options_.slow_one_in > 0 && random_.chance(1, options_.slow_one_in);
  return slow ? ns * options_.slow_factor : ns;
}

bool SimDrive::fault(std::string_view name, uint32_t ppm) {
  return ppm > 0 && name.starts_with(faults_.name_prefix) && random_.chance(ppm, 1'000'000);
}

bool SimDrive::has_room(const SimInode& inode, uint64_t offset_bytes, uint64_t length_bytes) const {
  const uint64_t more = inode.charge_sectors(offset_bytes, length_bytes);
  return more == 0 || used_bytes() + more * kSimSectorBytes <= options_.capacity_bytes;
}

}  // namespace gd2fs
