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
         std::to_string(t_->drives.size()) + ", clients " + std::to_string(clients_.size()) +
         (memory_ ? ", durability memory" : "");
}

void SimRun::draw_profile() {
  const auto draw = random_.below(100);
  trouble_ = draw < 50   ? Trouble::none
             : draw < 62 ? Trouble::flips
             : draw < 74 ? Trouble::full
             : draw < 82 ? Trouble::hang
             : draw < 90 ? Trouble::io_errors
                         : Trouble::missing_drive;
  const bool mutated = mutation_.control || mutation_.any();
  if (mutated && random_.chance(1, 2)) trouble_ = Trouble::none;
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
  t_->options.patient_bytes = kBlockBytes << random_.below(4);
  lives_ = 2 + random_.below(4);
  ops_per_life_ = 10 + random_.below(60);
  const size_t clients = 1 + random_.below(4);
  for (size_t i = 0; i < clients; ++i) {
    clients_.push_back(std::make_unique<Client>(*this, 1000 + i));
  }
  if (random_.chance(4, 5)) administrator_ = std::make_unique<Administrator>(*this);
  const size_t files = 1 + random_.below(3);
  for (size_t i = 0; i < files; ++i) new_file();
  lies_from_the_beginning_ = random_.chance(1, 2) || mutation_.lose_syncs != nullptr;
  for (const auto& drive : t_->drives) {
    if (lies_from_the_beginning_) lie(*drive);
    if (mutation_.no_fence_log) drive->ignore_writes("drive.log");
    drive->ignore_dir_syncs(mutation_.ignore_dir_syncs);
  }
  memory_ = mutated ? mutation_.memory : random_.chance(1, 4);
  if (memory_ && random_.chance(1, 2)) {
    t_->options.write_back_max_bytes = kBlockBytes * (1 + random_.below(4));
  }
}

void SimRun::lie(SimDrive& drive) {
  if (mutation_.lose_syncs != nullptr) {
    drive.ignore_syncs(
        [this](const SimSync& sync) { return mutation_.lose_syncs(sync, opening_); });
  }
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

// --- lives -------------------------------------------------------------------------------------

// Dies up to three times in the middle of it, at any change of any drive.
bool SimRun::open() {
  some_drive_missing_ = false;
  std::vector<std::unique_ptr<SimDrive>> taken(t_->drives.size());
  // The same one until all have met again: what drives that are away by turns, and never together
  // in between, do not know of each other nobody can tell.
  if (trouble_ == Trouble::missing_drive && drives_met_ && random_.chance(1, 2)) {
    taken[away_] = std::move(t_->drives[away_]);
    some_drive_missing_ = true;
  }
  Status status;
  for (int deaths = 0;; ++deaths) {
    watch_for_deaths();
    GD2FS_LOG_INFO("{} us: the store opens{}{}", t_->world.clock().now_ns() / kUs,
                   some_drive_missing_ ? ", a drive is away" : "",
                   t_->options.rebuild ? ", rebuild asked for" : "");
    const bool ends = random_.chance(mutation_.deadly_starts ? 3 : 1, 4);
    if (deaths < 3 && ends) arm(random_.chance(1, 2) ? 30 : 200);
    opening_ = true;
    status = t_->open([this] { return crashed(); });
    opening_ = false;
    if (!crashed()) break;
    ++counts_.deaths_in_open;
    die();
  }
  for (size_t i = 0; i < taken.size(); ++i) {
    if (taken[i] != nullptr) t_->drives[i] = std::move(taken[i]);
  }
  for (const auto& drive : t_->drives) disarm(*drive);
  watch_for_deaths();
  if (!status.ok()) fail("open: " + status.to_string());
  if (status.ok() && !some_drive_missing_) {
    drives_met_ = true;
    if (trouble_ == Trouble::missing_drive) away_ = random_.below(t_->drives.size());
  }
  return status.ok();
}

void SimRun::watch_for_deaths() {
  probes_.clear();
  probe_loops_.clear();
  for (const auto& drive : t_->drives) {
    if (drive == nullptr) continue;
    probe_loops_.push_back(std::make_unique<Loop>(t_->world.clock(), Loop::Waits::never));
    probes_.push_back(std::make_unique<SimDisk>(*probe_loops_.back(), *drive));
  }
}

// The process or the machine ends at one of the next changes of some drive.
void SimRun::arm(uint64_t changes_max) {
  std::vector<SimDrive*> present;
  for (const auto& drive : t_->drives) {
    if (drive != nullptr) present.push_back(drive.get());
  }
  // One that goes away later must not be the only one to know what happens after another died.
  const bool away_later = trouble_ == Trouble::missing_drive && t_->drives[away_] != nullptr;
  SimDrive& drive = away_later ? *t_->drives[away_] : *present[random_.below(present.size())];
  const uint64_t changes = 1 + random_.below(changes_max);
  if (random_.chance(1, 3)) {
    drive.kill_after_changes(changes);
  } else {
    drive.crash_after_changes(changes);
  }
}

void SimRun::disarm(SimDrive& drive) {
  drive.kill_after_changes(0);
  drive.crash_after_changes(0);
}

// By a lost power or as a killed process.
void SimRun::die() {
  const bool power_fails = random_.chance(2, 3);
  GD2FS_LOG_INFO("{} us: {}", t_->world.clock().now_ns() / kUs,
                 power_fails ? "the power fails" : "the process is killed");
  for (const auto& drive : t_->drives) {
    if (drive == nullptr) continue;
    disarm(*drive);
    if (power_fails) {
      drive->crash();
    } else {
      drive->kill();
    }
  }
  t_->stop();
}

bool SimRun::crashed() {
  return std::any_of(probes_.begin(), probes_.end(), [](const auto& probe) {
    const Result<bool> there = probe->exists("drive.id");
    return !there && there.error().is(StatusCode::unavailable);
  });
}

void SimRun::live() {
  life_ended_ = false;
  ++life_;
  idle_clients_ = 0;
  for (const auto& client : clients_) client->begin_life();
  if (administrator_ != nullptr) administrator_->begin_life();
  // Now and then too short for anything to be synced after the start.
  const uint64_t life_ns = random_.chance(1, 6)
                               ? 100 * kUs + random_.below(500 * kUs)
                               : ops_per_life_ * (200 * kUs + random_.below(2 * kMs));
  const bool sudden = random_.chance(1, 3);
  if (sudden) arm(400);
  if (trouble_ == Trouble::io_errors) {
    static const char* const prefixes[] = {"data/", "data/", "index.db", "drive.log", ""};
    t_->drives[random_.below(t_->drives.size())]->set_faults(
        {.name_prefix = prefixes[random_.below(std::size(prefixes))],
         .read_error_ppm = 3000,
         .write_error_ppm = random_.chance(1, 2) ? 500u : 0u,
         .sync_error_ppm = random_.chance(1, 2) ? 500u : 0u});
  }
  const uint64_t scrub_at_ns = t_->world.clock().now_ns() + random_.below(life_ns);
  bool scrubbed = random_.chance(2, 3);
  const uint64_t hang_at_ns = t_->world.clock().now_ns() + random_.below(life_ns);
  bool hung = trouble_ != Trouble::hang || random_.chance(1, 3);
  const uint64_t end_ns = t_->world.clock().now_ns() + life_ns;
  // A drive that kept nothing since long is easily found out; the last moments are not.
  const uint64_t lie_at_ns = end_ns - random_.below(std::min(life_ns, 40 * kMs));
  bool lying = lies_from_the_beginning_;
  while (t_->world.clock().now_ns() < end_ns && error_.empty() && !crashed()) {
    t_->world.run_for_ns(100 * kUs);
    if (!lying && t_->world.clock().now_ns() >= lie_at_ns) {
      lying = true;
      for (const auto& drive : t_->drives) lie(*drive);
    }
    if (!hung && t_->world.clock().now_ns() >= hang_at_ns) {
      hung = true;
      SimDrive& drive = *t_->drives[random_.below(t_->drives.size())];
      drive.hang();
      t_->world.run_for_ns(random_.below(3 * kSecond));
      if (random_.chance(1, 2)) drive.resume();
    }
    if (!scrubbed && t_->world.clock().now_ns() >= scrub_at_ns) {
      scrubbed = true;
      t_->loop->spawn(scrub_now(this));
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
  bool closed = false;
  if (peaceful && error_.empty() && !crashed()) {
    if (random_.chance(1, 4)) arm(40);
    const Status status = t_->close([this] { return crashed(); });
    closed = status.ok() && !crashed();
    // With the drive or the index failing, what was in memory only is lost, and said to be.
    const bool says_lost = memory_ && trouble_ == Trouble::full && status.is(StatusCode::io);
    if (!closed && !trouble_allows(status) && !says_lost && !crashed()) {
      fail("close: " + status.to_string());
    }
  }
  each_chunk([&](ModelChunk& chunk) {
    if (closed) chunk.flushed(SIZE_MAX);
    chunk.crashed();
  });
  for (const auto& drive : t_->drives) {
    drive->set_faults({});
    if (!lies_from_the_beginning_) drive->ignore_syncs("", 0, 0);
  }
  die();
  if (closed && trouble_ == Trouble::flips) {
    flip_bytes();
  } else if (closed && mutation_.forged_checksums) {
    forge_bytes();
  }
  damage_index();
}

Task<void> SimRun::scrub_now(SimRun* run) {
  const ScrubReport report = co_await run->t_->store->scrub(0);
  ++run->counts_.scrubs;
  const bool may_be = !run->tainted_.empty() || run->trouble_ == Trouble::io_errors ||
                      run->trouble_ == Trouble::hang || run->crashed();
  if (report.corrupt_blocks != 0 && !may_be) run->fail("scrub: " + report.findings.front());
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
    if (!open()) break;
    check_all(true);
    if (!error_.empty()) break;
    t_->world.run_for_ns(2 * kSecond);
    const ScrubReport report = t_->scrub();
    if (report.corrupt_blocks != 0 && tainted_.empty()) {
      fail("the last scrub: " + report.findings.front());
    }
    const Status closed = t_->close();
    if (!closed.ok()) fail("the last close: " + closed.to_string());
  }
  return error_;
}

}  // namespace gd2fs
