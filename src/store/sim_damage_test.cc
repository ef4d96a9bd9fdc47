// What SimRun does to the drives between two lives.
#include "base/crc32c.h"
#include "store/format.h"
#include "store/sim_run.h"

namespace gd2fs {

// What happens to the small files of a drive while nobody looks: the index is deleted or damaged,
// or else a byte flips in drive.log or drive.id.
void SimRun::damage_index() {
  t_->options.rebuild = false;
  if (some_drive_missing_ || trouble_ == Trouble::missing_drive) return;
  SimDrive& drive = *t_->drives[random_.below(t_->drives.size())];
  Loop loop(t_->world.clock(), Loop::Waits::never);
  SimDisk disk(loop, drive);
  switch (random_.below(8)) {
    case 0:
      t_->options.rebuild = true;
      return;
    case 1:
    case 2:
      break;
    case 3:
      flip_somewhere(drive, disk, "drive.log");
      return;
    case 4:
      flip_somewhere(drive, disk, "drive.id");
      return;
    default:
      return;
  }
  const Result<std::vector<std::string>> names = disk.list("");
  for (const std::string& name : *names) {
    if (!name.starts_with("index.db")) continue;
    if (random_.chance(1, 2)) {
      (void)disk.remove(name).ok();
      continue;
    }
    for (int i = 0; i < 3; ++i) flip_somewhere(drive, disk, name);
  }
  (void)disk.sync_dir("").ok();
}

void SimRun::flip_somewhere(SimDrive& drive, SimDisk& disk, const std::string& name) {
  auto file = disk.open(name, OpenMode::existing, OpenKind::cached);
  if (!file) return;
  const Result<uint64_t> size_bytes = (*file)->size_bytes();
  const auto mask = static_cast<std::byte>(1 + random_.below(255));
  if (*size_bytes > 0) (void)drive.flip(name, random_.below(*size_bytes), mask).ok();
}

// Flips a few bytes in data files, mostly where something is stored, and notes which blocks they
// belong to.
void SimRun::flip_bytes() {
  for (const auto& drive : t_->drives) {
    Loop loop(t_->world.clock(), Loop::Waits::never);
    SimDisk disk(loop, *drive);
    const Result<std::vector<std::string>> names = disk.list("data");
    if (!names || names->empty()) continue;
    std::set<std::string> slots_hit;
    uint64_t flips = random_.below(4);
    for (int draws = 0; flips > 0 && draws < 30; ++draws) {
      const std::string name = (*names)[random_.below(names->size())];
      uint8_t slot_class = 0;
      uint32_t number = 0;
      if (!parse_data_file_name(name, &slot_class, &number)) continue;
      auto file = disk.open("data/" + name, OpenMode::existing, OpenKind::direct);
      const uint64_t size_bytes = *(*file)->size_bytes();
      if (size_bytes < slot_offset(slot_class, 1)) continue;  // it was never finished
      const uint64_t slots = (size_bytes - kHeaderBytes) / class_slot_bytes(slot_class);
      const auto slot = static_cast<uint32_t>(random_.below(slots));
      const uint64_t slot_at = slot_offset(slot_class, slot);
      AlignedBuffer area(class_descriptor_bytes(slot_class));
      (void)(*file)->read_at(slot_at, area.bytes());
      SlotDescriptor d;
      const bool used = parse_descriptor(area.bytes(), &d) == DescriptorVerdict::valid;
      if (!used && draws % 4 != 0) continue;
      if (!slots_hit.insert(name + "/" + std::to_string(slot)).second) continue;
      --flips;
      const bool in_descriptor = random_.chance(1, 3);
      const uint64_t data_bytes =
          used ? uint64_t{d.blocks} * kBlockBytes : class_data_bytes(slot_class);
      const uint64_t at =
          in_descriptor ? random_.below(area.size()) : area.size() + random_.below(data_bytes);
      const auto mask = static_cast<std::byte>(1 + random_.below(255));
      (void)drive->flip("data/" + name, slot_at + at, mask).ok();
      if (in_descriptor) descriptor_flipped_ = true;
      if (!used) continue;
      const auto block = static_cast<uint32_t>((at - area.size()) / kBlockBytes);
      const uint32_t first = in_descriptor ? 0 : block;
      const uint32_t end = in_descriptor ? d.blocks : block + 1;
      for (uint32_t i = first; i < end; ++i) {
        tainted_.insert({d.key.inode, d.key.chunk, d.first_block + i});
      }
    }
  }
}

// As if nobody compared checksums: bytes flip, and the descriptors' checksums with them.
void SimRun::forge_bytes() {
  for (const auto& drive : t_->drives) {
    Loop loop(t_->world.clock(), Loop::Waits::never);
    SimDisk disk(loop, *drive);
    const Result<std::vector<std::string>> names = disk.list("data");
    if (!names) continue;
    for (const std::string& name : *names) {
      uint8_t slot_class = 0;
      uint32_t number = 0;
      if (!parse_data_file_name(name, &slot_class, &number)) continue;
      auto file = disk.open("data/" + name, OpenMode::existing, OpenKind::direct);
      const uint64_t size_bytes = *(*file)->size_bytes();
      for (uint32_t slot = 0; slot_offset(slot_class, slot + 1) <= size_bytes; ++slot) {
        AlignedBuffer area(class_descriptor_bytes(slot_class));
        (void)(*file)->read_at(slot_offset(slot_class, slot), area.bytes());
        SlotDescriptor d;
        if (parse_descriptor(area.bytes(), &d) != DescriptorVerdict::valid) continue;
        if (random_.chance(3, 4)) continue;
        const uint64_t block = random_.below(d.blocks);
        const uint64_t data_at = slot_offset(slot_class, slot) + area.size() + block * kBlockBytes;
        (void)drive->flip("data/" + name, data_at + random_.below(kBlockBytes)).ok();
        AlignedBuffer data(kBlockBytes);
        (void)(*file)->read_at(data_at, data.bytes());
        d.block_crcs[block] = crc32c(data.bytes());
        encode_descriptor(d, area.bytes());
        (void)(*file)->write_at(slot_offset(slot_class, slot), area.bytes()).ok();
        (void)(*file)->sync().ok();
      }
    }
  }
}

}  // namespace gd2fs
