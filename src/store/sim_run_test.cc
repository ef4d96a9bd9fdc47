#include "store/sim_run.h"

#include "base/log.h"
#include "store/format.h"
#include "store/sim_client.h"

namespace gd2fs {

SimRun::SimRun(uint64_t seed, SimMutation mutation)
    : seed_(seed), mutation_(std::move(mutation)), random_(mix64(seed)) {
  draw_profile();
}

SimRun::~SimRun() {
  for (const auto& client : clients_) client->end_life();
  if (administrator_ != nullptr) administrator_->end_life();
  t_->stop();
  probes_.clear();
}

std::string SimRun::profile() const {
  static const char* const names[] = {"none", "flips",     "full",
                                      "hang", "io_errors", "missing_drive"};
  return std::string("trouble ") + names[static_cast<int>(trouble_)] + ", drives " +
         std::to_string(t_->drives.size()) + ", clients " + std::to_string(clients_.size());
}

void SimRun::draw_profile() {
  const auto draw = random_.below(100);
  trouble_ = draw < 50   ? Trouble::none
             : draw < 62 ? Trouble::flips
             : draw < 74 ? Trouble::full
             : draw < 82 ? Trouble::hang
             : draw < 90 ? Trouble::io_errors
                         : Trouble::missing_drive;
  const bool mutated = !mutation_.ignore_syncs_of.empty() || mutation_.ignore_dir_syncs ||
                       mutation_.blind_to_generations || mutation_.no_tags || mutation_.control;
  if (mutated) trouble_ = Trouble::none;
  size_t drives = random_.chance(1, 4) ? 2 : 1;
  if (trouble_ == Trouble::missing_drive) drives = 2 + random_.below(2);
  away_ = random_.below(drives);
  SimDriveOptions options;
  options.direct_tear_bytes = random_.chance(1, 2) ? 512 : 4096;
  if (trouble_ == Trouble::full) options.capacity_bytes = (3 + random_.below(6)) * kMiB;
  t_ = std::make_unique<TestStore>(random_.next(), drives, options);
  t_->options.data_file_bytes = (256 + random_.below(1024)) * kKiB;
  t_->options.drive_reserve_bytes = 512 * kKiB;
  t_->options.drive_deadline_ns = 1 * kSecond;
  t_->options.arena_bytes = kMiB / 2 * (1 + random_.below(2));
  t_->options.slab_bytes = t_->options.arena_bytes * (2 + random_.below(4));
  if (random_.chance(1, 4)) t_->options.commit_delay_ns = random_.below(300 * kUs);
  lives_ = 2 + random_.below(4);
  ops_per_life_ = 10 + random_.below(60);
  const size_t clients = 1 + random_.below(4);
  for (size_t i = 0; i < clients; ++i) {
    clients_.push_back(std::make_unique<Client>(*this, 1000 + i));
  }
  if (random_.chance(4, 5)) administrator_ = std::make_unique<Administrator>(*this);
  const size_t files = 1 + random_.below(3);
  for (size_t i = 0; i < files; ++i) new_file();
  lies_from_the_beginning_ = random_.chance(1, 2);
  for (const auto& drive : t_->drives) {
    if (lies_from_the_beginning_) lie(*drive);
    drive->ignore_dir_syncs(mutation_.ignore_dir_syncs);
  }
}

void SimRun::lie(SimDrive& drive) {
  if (mutation_.ignore_syncs_of.empty()) return;
  drive.ignore_syncs(mutation_.ignore_syncs_of, 0, UINT64_MAX);
}

ModelFile& SimRun::new_file() {
  auto file = std::make_unique<ModelFile>();
  // Two clusters, so that arenas change hands too.
  file->inode = (uint64_t{random_.below(2)} << 48) + 100 + next_inode_++;
  file->chunk_log2 = static_cast<uint8_t>(17 + random_.below(2));
  file->chunks.resize(1 + random_.below(3), ModelChunk(file->chunk_log2));
  files_.push_back(std::move(file));
  return *files_.back();
}

void SimRun::fail(const std::string& what) {
  if (error_.empty()) {
    error_ = what + " (at " + std::to_string(t_->world.clock().now_ns() / kUs) + " us)";
  }
}

// --- what an error may be ----------------------------------------------------------------------

bool SimRun::trouble_allows(const Status& status) const {
  if (status.is(StatusCode::busy)) return true;  // a small slab, and clients who hold on to pages
  switch (trouble_) {
    case Trouble::full:
      // A full drive may be set aside when its log or index finds no room.
      return status.is(StatusCode::no_space) || status.is(StatusCode::unavailable) ||
             status.is(StatusCode::busy);
    case Trouble::hang:
    case Trouble::io_errors:
    case Trouble::missing_drive:
      return status.is(StatusCode::unavailable) || status.is(StatusCode::io);
    case Trouble::flips:
    case Trouble::none:
      // Only while the power is already off and nobody knows it yet.
      return status.is(StatusCode::unavailable) && const_cast<SimRun*>(this)->crashed();
  }
  return false;
}

bool SimRun::allowed(const ModelFile& file, uint32_t chunk, uint32_t block,
                     const Status& status) const {
  if (trouble_allows(status)) return true;
  if (tainted_.contains({file.inode, chunk, block})) {
    return status.is(StatusCode::corrupt) || status.is(StatusCode::io);
  }
  if (!status.is(StatusCode::io) || !descriptor_flipped_ || !rebuilt_) return false;
  // A drive that lost a descriptor answers io for what no extent covers.
  const std::string& acked = file.chunks[chunk].acked();
  const auto begin = acked.begin() + static_cast<std::ptrdiff_t>(block) * kBlockBytes;
  return std::all_of(begin, begin + kBlockBytes, [](char c) { return c == 0; });
}

// --- lives -------------------------------------------------------------------------------------

bool SimRun::open() {
  probes_.clear();
  probe_loops_.clear();
  some_drive_missing_ = false;
  std::vector<std::unique_ptr<SimDrive>> taken(t_->drives.size());
  // Always the same one, once it has been with the others: what drives that are away by turns do
  // not know of each other nobody can tell.
  if (trouble_ == Trouble::missing_drive && drives_met_ && random_.chance(1, 2)) {
    taken[away_] = std::move(t_->drives[away_]);
    some_drive_missing_ = true;
  }
  GD2FS_LOG_INFO("{} us: the store opens{}{}", t_->world.clock().now_ns() / kUs,
                 some_drive_missing_ ? ", a drive is away" : "",
                 t_->options.rebuild ? ", rebuild asked for" : "");
  const Status status = t_->open();
  for (size_t i = 0; i < taken.size(); ++i) {
    if (taken[i] != nullptr) t_->drives[i] = std::move(taken[i]);
  }
  for (const auto& drive : t_->drives) {
    probe_loops_.push_back(std::make_unique<Loop>(t_->world.clock(), Loop::Waits::never));
    probes_.push_back(std::make_unique<SimDisk>(*probe_loops_.back(), *drive));
  }
  if (!status.ok()) fail("open: " + status.to_string());
  drives_met_ = drives_met_ || status.ok();
  return status.ok();
}

bool SimRun::crashed() {
  return std::any_of(probes_.begin(), probes_.end(), [](const auto& probe) {
    const Result<bool> there = probe->exists("drive.id");
    return !there && there.error().is(StatusCode::unavailable);
  });
}

void SimRun::live() {
  life_ended_ = false;
  idle_clients_ = 0;
  for (const auto& client : clients_) client->begin_life();
  if (administrator_ != nullptr) administrator_->begin_life();
  const uint64_t life_ns = ops_per_life_ * (200 * kUs + random_.below(2 * kMs));
  const bool sudden = random_.chance(1, 3);
  if (sudden) {
    // At any change of any drive, in the middle of whatever the store does.
    SimDrive& drive = *t_->drives[random_.below(t_->drives.size())];
    const uint64_t changes = 1 + random_.below(400);
    if (random_.chance(1, 3)) {
      drive.kill_after_changes(changes);
    } else {
      drive.crash_after_changes(changes);
    }
  }
  if (trouble_ == Trouble::io_errors) {
    t_->drives[0]->set_faults({.name_prefix = "data/",
                               .read_error_ppm = 3000,
                               .write_error_ppm = random_.chance(1, 2) ? 500u : 0u,
                               .sync_error_ppm = random_.chance(1, 2) ? 500u : 0u});
  }
  const uint64_t hang_at_ns = t_->world.clock().now_ns() + random_.below(life_ns);
  bool hung = trouble_ != Trouble::hang || random_.chance(1, 3);
  const uint64_t end_ns = t_->world.clock().now_ns() + life_ns;
  // A drive that kept nothing since long is easily found out; the last moments are not.
  const uint64_t lie_at_ns = end_ns - random_.below(std::min(life_ns, 8 * kMs));
  bool lying = lies_from_the_beginning_;
  while (t_->world.clock().now_ns() < end_ns && error_.empty() && !crashed()) {
    t_->world.run_for_ns(100 * kUs);
    if (!lying && t_->world.clock().now_ns() >= lie_at_ns) {
      lying = true;
      for (const auto& drive : t_->drives) lie(*drive);
    }
    if (!hung && t_->world.clock().now_ns() >= hang_at_ns) {
      hung = true;
      t_->drives[random_.below(t_->drives.size())]->hang();
      t_->world.run_for_ns(3 * kSecond);
    }
  }
  life_ended_ = true;
  end_life();
}

// In peace, by a lost power or by a killed process.
void SimRun::end_life() {
  const bool gone = crashed();
  const bool peaceful =
      !gone && (trouble_ == Trouble::flips || (random_.chance(1, 3) && trouble_ != Trouble::hang));
  if (peaceful && error_.empty()) {
    const bool quiet = t_->world.run_until(
        [&] { return idle_clients_ == clients_.size() || crashed() || !error_.empty(); },
        60 * kSecond);
    if (!quiet) fail("the clients never became idle");
    t_->world.run_for_ns(20 * kSecond);
    if (trouble_ == Trouble::none || trouble_ == Trouble::flips) check_quiet();
  }
  for (const auto& client : clients_) client->end_life();
  if (administrator_ != nullptr) administrator_->end_life();
  if (peaceful && error_.empty() && !crashed()) {
    const Status closed = t_->close();
    if (!closed.ok() && !trouble_allows(closed) && !crashed()) {
      fail("close: " + closed.to_string());
    }
    if (trouble_ == Trouble::flips) flip_bytes();
  }
  for (const auto& drive : t_->drives) {
    drive->set_faults({});
    if (!lies_from_the_beginning_) drive->ignore_syncs("", 0, 0);
  }
  const bool power_fails = random_.chance(2, 3);
  GD2FS_LOG_INFO("{} us: the life ends: {}{}", t_->world.clock().now_ns() / kUs,
                 peaceful ? "in peace, " : "", power_fails ? "power fails" : "killed");
  for (const auto& drive : t_->drives) {
    if (power_fails) {
      drive->crash();
    } else {
      drive->kill();
    }
  }
  t_->stop();
  damage_index();
}

// No descriptors left to wipe, no slot taken that no extent has, no page held.
void SimRun::check_quiet() {
  if (!error_.empty() || crashed()) return;
  for (const auto& client : clients_) client->end_life();
  const StoreStats stats = t_->store->stats();
  if (stats.slots_taken != stats.extents) {
    fail("slots leak: " + std::to_string(stats.slots_taken) + " taken, " +
         std::to_string(stats.extents) + " extents");
  }
  if (stats.slots_unwiped != 0) fail("descriptors left to wipe");
  if (stats.pages_held != 0) fail("pages are still held: " + std::to_string(stats.pages_held));
}

void SimRun::damage_index() {
  t_->options.rebuild = false;
  rebuilt_ = rebuilt_ && descriptor_flipped_;  // what a rebuild could not find stays unknown
  if (some_drive_missing_ || trouble_ == Trouble::missing_drive) return;
  switch (random_.below(6)) {
    case 0:
      t_->options.rebuild = true;
      rebuilt_ = true;
      return;
    case 1:
    case 2:
      break;
    default:
      return;
  }
  rebuilt_ = true;  // or not, if the damage did not matter
  SimDrive& drive = *t_->drives[random_.below(t_->drives.size())];
  Loop loop(t_->world.clock(), Loop::Waits::never);
  SimDisk disk(loop, drive);
  const Result<std::vector<std::string>> names = disk.list("");
  for (const std::string& name : *names) {
    if (!name.starts_with("index.db")) continue;
    if (random_.chance(1, 2)) {
      (void)disk.remove(name).ok();
      continue;
    }
    auto file = disk.open(name, OpenMode::existing, OpenKind::cached);
    const Result<uint64_t> size_bytes = (*file)->size_bytes();
    file->reset();
    for (int i = 0; i < 3 && *size_bytes > 0; ++i) {
      (void)drive.flip(name, random_.below(*size_bytes)).ok();
    }
  }
  (void)disk.sync_dir("").ok();
}

// Flips a few bytes in data files and notes which blocks they belong to.
void SimRun::flip_bytes() {
  for (const auto& drive : t_->drives) {
    Loop loop(t_->world.clock(), Loop::Waits::never);
    SimDisk disk(loop, *drive);
    const Result<std::vector<std::string>> names = disk.list("data");
    if (!names) continue;
    std::set<std::string> slots_hit;
    for (uint64_t i = random_.below(4); i > 0 && !names->empty(); --i) {
      const std::string name = (*names)[random_.below(names->size())];
      uint8_t slot_class = 0;
      uint32_t number = 0;
      if (!parse_data_file_name(name, &slot_class, &number)) continue;
      auto file = disk.open("data/" + name, OpenMode::existing, OpenKind::direct);
      const uint64_t size_bytes = *(*file)->size_bytes();
      if (size_bytes < slot_offset(slot_class, 1)) continue;  // it was never finished
      const uint64_t slots = (size_bytes - kHeaderBytes) / class_slot_bytes(slot_class);
      const auto slot = static_cast<uint32_t>(random_.below(slots));
      if (!slots_hit.insert(name + std::to_string(slot)).second) continue;
      AlignedBuffer area(class_descriptor_bytes(slot_class));
      (void)(*file)->read_at(slot_offset(slot_class, slot), area.bytes());
      Descriptor d;
      const DescriptorVerdict verdict = parse_descriptor(area.bytes(), &d);
      const bool in_descriptor = random_.chance(1, 2);
      const uint64_t at = in_descriptor ? random_.below(area.size())
                                        : area.size() + random_.below(class_data_bytes(slot_class));
      (void)drive
          ->flip("data/" + name, slot_offset(slot_class, slot) + at,
                 static_cast<std::byte>(1 + random_.below(255)))
          .ok();
      if (in_descriptor) descriptor_flipped_ = true;
      if (verdict != DescriptorVerdict::valid) continue;
      const uint32_t first =
          in_descriptor ? 0 : static_cast<uint32_t>((at - area.size()) / kBlockBytes);
      const uint32_t count = in_descriptor ? d.blocks : 1;
      for (uint32_t block = first; block < std::min<uint32_t>(first + count, d.blocks); ++block) {
        tainted_.insert({d.key.inode, d.key.chunk, d.first_block + block});
      }
    }
  }
}

// --- comparing -----------------------------------------------------------------------------------

Seen SimRun::look(ModelFile& file, uint32_t chunk) {
  const uint32_t chunk_bytes = 1u << file.chunk_log2;
  Seen seen;
  StoreRead r;
  r.key = {file.inode, chunk};
  r.chunk_log2 = file.chunk_log2;
  r.length_bytes = chunk_bytes;
  r.generation = UINT64_MAX;
  r.sequential = random_.chance(1, 2);
  if (t_->read(r).ok()) {
    seen.bytes = TestStore::bytes_of(r);
    return seen;
  }
  seen.bytes.assign(chunk_bytes, '\0');
  seen.block_unknown.assign(chunk_bytes / kBlockBytes, false);
  for (uint32_t block = 0; block < chunk_bytes / kBlockBytes; ++block) {
    StoreRead one;
    one.key = r.key;
    one.chunk_log2 = file.chunk_log2;
    one.offset_bytes = block * kBlockBytes;
    one.length_bytes = kBlockBytes;
    one.generation = UINT64_MAX;
    const Status status = t_->read(one);
    if (status.ok()) {
      seen.bytes.replace(block * kBlockBytes, kBlockBytes, TestStore::bytes_of(one));
      continue;
    }
    seen.block_unknown[block] = true;
    if (!allowed(file, chunk, block, status)) {
      fail("after a restart inode " + std::to_string(file.inode) + " chunk " +
           std::to_string(chunk) + " block " + std::to_string(block) + ": " + status.to_string());
    }
  }
  return seen;
}

// The writes whose bytes a block begins and ends with, for a message.
std::string SimRun::who_wrote(const std::string& bytes, uint32_t block) const {
  const auto at = [&](size_t offset_bytes) -> std::string {
    const std::string here = bytes.substr(offset_bytes, 64);
    if (here == std::string(64, '\0')) return "none";
    for (uint64_t id = 1; id < next_id_; ++id) {
      std::string theirs(64, '\0');
      model_fill(id, static_cast<uint32_t>(offset_bytes), as_writable_bytes(theirs.data(), 64));
      if (here == theirs) return std::to_string(id);
    }
    return "?";
  };
  return at(block * kBlockBytes) + ".." + at((block + 1) * kBlockBytes - 64);
}

void SimRun::check_chunk(ModelFile& file, uint32_t chunk, bool settle) {
  ModelChunk& model = file.chunks[chunk];
  const Seen seen = look(file, chunk);
  if (!error_.empty() || crashed()) return;
  ModelChunk::Settled settled;
  // What could not be read can still tell later.
  ModelChunk attempt = model;
  if (!attempt.settle(seen, &settled)) {
    std::string text = "after a restart inode " + std::to_string(file.inode) + " chunk " +
                       std::to_string(chunk) + " holds what was never there;";
    for (uint32_t block = 0; block * kBlockBytes < seen.bytes.size(); ++block) {
      text += " block " + std::to_string(block) + ": write " + who_wrote(seen.bytes, block) +
              ", not " + who_wrote(model.acked(), block) + ";";
    }
    text += " under way:" + model.under_way_text();
    fail(text);
    return;
  }
  if (!settle || !seen.block_unknown.empty()) return;
  model = attempt;
  settled_applied_.insert(settled.applied.begin(), settled.applied.end());
  settled_dropped_.insert(settled.dropped.begin(), settled.dropped.end());
}

void SimRun::check_all(bool settle) {
  settled_applied_.clear();
  settled_dropped_.clear();
  for (const auto& file : files_) {
    for (uint32_t chunk = 0; chunk < file->chunks.size() && error_.empty(); ++chunk) {
      check_chunk(*file, chunk, settle);
    }
  }
}

std::string SimRun::run() {
  for (size_t life = 0; life < lives_ && error_.empty(); ++life) {
    if (!open()) break;
    check_all(true);
    if (error_.empty()) live();
  }
  if (!error_.empty()) return error_;
  // At the end: in peace, from the index, then from the slots alone.
  trouble_ = trouble_ == Trouble::flips ? Trouble::flips : Trouble::none;
  for (const auto& drive : t_->drives) drive->set_capacity_bytes(1024 * kGiB);
  for (const bool rebuild : {false, true}) {
    t_->options.rebuild = rebuild;
    rebuilt_ = rebuilt_ || rebuild;
    if (!open()) break;
    check_all(true);
    if (!error_.empty()) break;
    t_->world.run_for_ns(2 * kSecond);
    const Status closed = t_->close();
    if (!closed.ok()) fail("the last close: " + closed.to_string());
  }
  return error_;
}

}  // namespace gd2fs
