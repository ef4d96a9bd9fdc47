#include "sim/seeds/troubles.h"

namespace gd2fs::sim {
namespace {

constexpr size_t kServer = 0;
constexpr size_t kController = 1;
constexpr size_t kFirstApplication = 2;

std::string_view name_of(Trouble trouble) {
  static constexpr std::string_view kNames[] = {
      "crash_server",      "crash_controller", "crash_both",  "sudden_server",
      "sudden_controller", "stop_process",     "partition",   "reset_sessions",
      "kill_application",  "hang_drive",       "evict",       "hold_nic",
      "cut_nics",          "lose_work",        "break_pairs", "refuse_registrations",
      "stop_server",       "forge_keys"};
  return kNames[static_cast<size_t>(trouble)];
}

}  // namespace

TroubleProfile TroubleProfile::draw(Random& random) {
  TroubleProfile out;
  if (random.chance(1, 12)) return out;  // peace
  for (size_t kind = 0; kind <= static_cast<size_t>(Trouble::evict); ++kind) {
    if (random.chance(1, 2)) out.kinds.push_back(static_cast<Trouble>(kind));
  }
  out.count = out.kinds.empty() ? 0 : random.between(1, 8);
  static constexpr uint64_t kPeriods[] = {50 * kMs, 500 * kMs, 3 * kSecond, 20 * kSecond};
  out.period_ns = kPeriods[random.below(std::size(kPeriods))];
  out.network = random.chance(1, 3);
  out.read_errors = random.chance(1, 20);
  out.lose_index = random.chance(1, 4);
  out.only_power = random.chance(1, 3);
  // A descriptor that a rebuild cannot read leaves its drive incomplete for good, and rightly so.
  if (out.read_errors) out.lose_index = false;
  return out;
}

void TroubleProfile::draw_nics(Random& random) {
  if (random.chance(1, 8)) return;
  const size_t before = kinds.size();
  for (auto kind = static_cast<size_t>(Trouble::hold_nic);
       kind <= static_cast<size_t>(Trouble::stop_server); ++kind) {
    if (random.chance(1, 2)) kinds.push_back(static_cast<Trouble>(kind));
  }
  if (kinds.size() > before) count += random.between(2, 12);
}

std::string TroubleProfile::to_string() const {
  std::string text =
      std::to_string(count) + " troubles in " + std::to_string(period_ns / kMs) + " ms of";
  for (const Trouble kind : kinds) text += " " + std::string(name_of(kind));
  if (network) text += ", network faults";
  if (read_errors) text += ", read errors";
  if (lose_index) text += ", lost indexes";
  return text;
}

Troubles::Troubles(Cluster& cluster, Applications& applications, const TroubleProfile& profile)
    : cluster_(cluster),
      applications_(applications),
      profile_(profile),
      random_(cluster.world().random().fork()) {
  const uint64_t now_ns = cluster.world().clock().now_ns();
  for (size_t i = 0; i < profile.count; ++i) {
    due_.push({now_ns + random_.below(profile.period_ns), ++order_, What::begin,
               profile.kinds[random_.below(profile.kinds.size())], 0});
  }
  set_network_faults(profile.network);
  if (profile.read_errors) {
    for (size_t i = 0; i < cluster.options().data_drives; ++i) {
      cluster.data_drive(i).set_faults({.name_prefix = "data/", .read_error_ppm = 2000});
    }
  }
}

void Troubles::note(const std::string& text) {
  log_.push_back(std::to_string(cluster_.world().clock().now_ns() / kUs) + " us: " + text);
}

void Troubles::set_network_faults(bool on) {
  SimNetworkFaults& faults = cluster_.network().faults;
  faults.slow_per_million = on ? static_cast<uint32_t>(random_.below(20'000)) : 0;
  faults.slow_max_ns = random_.chance(1, 2) ? 20 * kMs : 2 * kSecond;
  faults.reset_per_million = on ? static_cast<uint32_t>(random_.below(5'000)) : 0;
  faults.refuse_per_million = on ? static_cast<uint32_t>(random_.below(200'000)) : 0;
  faults.ghost_per_million = on ? static_cast<uint32_t>(random_.below(200'000)) : 0;
}

void Troubles::later(uint64_t delay_ns, What what, size_t which) {
  due_.push({cluster_.world().clock().now_ns() + delay_ns, ++order_, what, Trouble::evict, which});
}

void Troubles::act() {
  reap();
  while (!due_.empty() && due_.top().at_ns <= cluster_.world().clock().now_ns()) {
    const Due due = due_.top();
    due_.pop();
    switch (due.what) {
      case What::begin:
        begin(due.trouble);
        break;
      case What::start_server:
        start_server();
        break;
      case What::start_controller:
        start_controller();
        break;
      case What::go_on:
        note(node(due.which) + " goes on");
        if (Process* stopped = process(due.which)) stopped->go_on();
        break;
      case What::heal_partition:
        note("partition heals");
        cluster_.network().heal(partitions_[due.which].first, partitions_[due.which].second);
        break;
      case What::resume:
        note("drive resumes");
        cluster_.data_drive(due.which).resume();
        break;
      case What::let_go_nic:
        note("NIC " + std::to_string(due.which) + " goes on");
        cluster_.nics()->hold(static_cast<int>(due.which), false);
        break;
      case What::mend_nics:
        note("NICs reach each other again");
        cluster_.nics()->cut(Cluster::kServerDevice, static_cast<int>(due.which), false);
        break;
    }
  }
}

void Troubles::begin(Trouble trouble) {
  switch (trouble) {
    case Trouble::crash_server:
      return crash_server(draw_crash());
    case Trouble::crash_controller:
      return crash_controller(draw_crash());
    case Trouble::crash_both:
      crash_server(draw_crash());
      return crash_controller(draw_crash());
    case Trouble::sudden_server: {
      SimDrive& drive = cluster_.data_drive(random_.below(cluster_.options().data_drives));
      const uint64_t changes = random_.between(1, 60);
      note("server dies after " + std::to_string(changes) + " changes");
      if (draw_crash() == Crash::power) return drive.crash_after_changes(changes);
      return drive.kill_after_changes(changes);
    }
    case Trouble::sudden_controller: {
      const uint64_t changes = random_.between(1, 60);
      note("controller dies after " + std::to_string(changes) + " changes");
      if (draw_crash() == Crash::power) return cluster_.meta_drive().crash_after_changes(changes);
      return cluster_.meta_drive().kill_after_changes(changes);
    }
    case Trouble::stop_process:
      return stop_process(random_.below(kFirstApplication + applications_.count()));
    case Trouble::partition:
      return partition();
    case Trouble::reset_sessions:
      note("all sessions are reset");
      return cluster_.network().reset_all_sessions();
    case Trouble::kill_application: {
      const size_t index = random_.below(applications_.count());
      note(applications_.node(index) + " is killed");
      return applications_.kill_and_restart(index);
    }
    case Trouble::hang_drive: {
      const size_t index = random_.below(cluster_.options().data_drives);
      note("drive hangs");
      cluster_.data_drive(index).hang();
      return later(draw_pause_ns(), What::resume, index);
    }
    case Trouble::evict:
      if (cluster_.store() != nullptr) cluster_.store()->evict(UINT64_MAX);
      return;
    default:
      if (cluster_.nics() != nullptr) begin_nics(trouble, *cluster_.nics());
  }
}

void Troubles::begin_nics(Trouble trouble, SimNics& nics) {
  // Half of the time the server's, whose work is most.
  const size_t device =
      random_.chance(1, 2) ? Cluster::kServerDevice : random_.below(SimNics::kDevices);
  switch (trouble) {
    case Trouble::hold_nic:
      note("NIC " + std::to_string(device) + " is held");
      nics.hold(static_cast<int>(device), true);
      return later(draw_pause_ns(), What::let_go_nic, device);
    case Trouble::cut_nics: {
      const size_t index = Cluster::kFirstClientDevice + random_.below(applications_.count());
      note("NIC " + std::to_string(index) + " and the server's do not reach each other");
      nics.cut(Cluster::kServerDevice, static_cast<int>(index), true);
      return later(draw_pause_ns(), What::mend_nics, index);
    }
    case Trouble::lose_work:
      note("work of NICs is lost");
      return nics.lose(static_cast<uint32_t>(random_.between(1, 3)));
    case Trouble::break_pairs:
      note("queue pairs of NIC " + std::to_string(device) + " break");
      return nics.break_pairs(static_cast<int>(device));
    case Trouble::refuse_registrations:
      note("NICs refuse memory");
      return nics.refuse_registrations(static_cast<uint32_t>(random_.between(1, 20)));
    case Trouble::stop_server:
      return stop_process(kServer);
    case Trouble::forge_keys:
      note("keys are forged");
      return nics.forge_keys(static_cast<uint32_t>(random_.between(1, 3)), random_.next());
    default:
      CHECK(false);
  }
}

Crash Troubles::draw_crash() {
  return profile_.only_power || random_.chance(2, 3) ? Crash::power : Crash::kill;
}

uint64_t Troubles::draw_pause_ns() {
  static constexpr uint64_t kPauses[] = {1 * kMs, 50 * kMs, 1 * kSecond, 8 * kSecond, 15 * kSecond};
  return random_.below(kPauses[random_.below(std::size(kPauses))]) + kUs;
}

void Troubles::crash_server(Crash crash) {
  if (!cluster_.server_runs()) return;
  note(crash == Crash::power ? "server loses power" : "server is killed");
  cluster_.crash_server(crash);
  later(draw_pause_ns(), What::start_server);
}

void Troubles::crash_controller(Crash crash) {
  if (!cluster_.controller_runs()) return;
  note(crash == Crash::power ? "controller loses power" : "controller is killed");
  cluster_.crash_controller(crash);
  later(draw_pause_ns(), What::start_controller);
}

void Troubles::start_server() {
  if (cluster_.server_runs()) return;
  note("server starts");
  if (profile_.lose_index && random_.chance(1, 2)) {
    note("without its index");
    SimDrive& drive = cluster_.data_drive(random_.below(cluster_.options().data_drives));
    Loop loop(cluster_.world().clock(), Loop::Waits::never);
    SimDisk disk(loop, drive);
    for (const char* name : {"index.db", "index.db-wal", "index.db-shm", "index.db-journal"}) {
      // What is not there cannot be lost; on a drive that hangs the loss may not last.
      if (!disk.remove(name).ok()) continue;
      if (!disk.sync_dir("").ok()) note("but perhaps only for now");
    }
  }
  cluster_.start_server();
}

void Troubles::start_controller() {
  if (cluster_.controller_runs()) return;
  note("controller starts");
  cluster_.start_controller();
}

Process* Troubles::process(size_t which) {
  if (which == kServer) return cluster_.server_process();
  if (which == kController) return cluster_.controller_process();
  return applications_.process(which - kFirstApplication);
}

std::string Troubles::node(size_t which) const {
  if (which == kServer) return "server";
  if (which == kController) return "controller";
  return applications_.node(which - kFirstApplication);
}

void Troubles::stop_process(size_t which) {
  Process* stopped = process(which);
  if (stopped == nullptr) return;
  note(node(which) + " stops");
  stopped->stop();
  later(draw_pause_ns(), What::go_on, which);
}

void Troubles::partition() {
  const size_t a = random_.below(kFirstApplication + applications_.count());
  const size_t b = random_.below(kFirstApplication);
  if (a == b) return;
  const bool both = random_.chance(1, 2);
  const bool backwards = random_.chance(1, 2);
  const uint64_t pause_ns = draw_pause_ns();
  for (const bool way : {false, true}) {
    if (!both && way != backwards) continue;
    const auto& [from, to] =
        partitions_.emplace_back(way ? node(b) : node(a), way ? node(a) : node(b));
    note(std::string("nothing gets from ").append(from).append(" to ").append(to));
    cluster_.network().partition(from, to);
    later(pause_ns, What::heal_partition, partitions_.size() - 1);
  }
}

void Troubles::reap() {
  if (cluster_.server_lost()) crash_server(Crash::kill);
  if (cluster_.controller_lost()) crash_controller(Crash::kill);
}

void Troubles::heal() {
  note("all heals");
  due_ = {};
  set_network_faults(false);
  cluster_.network().heal_all();
  if (cluster_.nics() != nullptr) cluster_.nics()->heal_all();
  cluster_.meta_drive().crash_after_changes(0);
  cluster_.meta_drive().kill_after_changes(0);
  bool aside = cluster_.server_lost();
  for (size_t i = 0; i < cluster_.options().data_drives; ++i) {
    SimDrive& drive = cluster_.data_drive(i);
    drive.crash_after_changes(0);
    drive.kill_after_changes(0);
    drive.set_faults({});
    if (drive.hung()) drive.resume();
  }
  // A drive that hung or erred was set aside until somebody looks after it.
  if (cluster_.store() != nullptr && cluster_.store()->stats().drives_set_aside > 0) aside = true;
  // ... and a start that is under way may have missed one.
  if (cluster_.server_runs() && cluster_.store() == nullptr) aside = true;
  if (aside) cluster_.crash_server(Crash::kill);
  if (cluster_.controller_lost()) cluster_.crash_controller(Crash::kill);
  for (size_t which = 0; which < kFirstApplication + applications_.count(); ++which) {
    if (Process* stopped = process(which)) stopped->go_on();
  }
  if (!cluster_.server_runs()) cluster_.start_server();
  if (!cluster_.controller_runs()) cluster_.start_controller();
}

}  // namespace gd2fs::sim
