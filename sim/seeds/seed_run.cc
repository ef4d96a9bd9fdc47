#include "sim/seeds/seed_run.h"

#include <bit>
#include <cerrno>
#include <optional>

#include "meta/check_metadata.h"
#include "sim/seeds/check_bytes.h"
#include "sim/seeds/check_names.h"
#include "sim/seeds/check_sizes.h"
#include "sim/seeds/file_history.h"

namespace gd2fs::sim {
namespace {

using client::Op;

constexpr uint64_t kLifeMaxNs = 300 * kSecond;
constexpr uint64_t kHealMaxNs = 60 * kSecond;
// After all has healed: an intent of a restarted controller waits for a lease to end, a client for
// its reconnects.
constexpr uint64_t kProgressMaxNs = 30 * kSecond;

template <class T>
Task<void> keep(Task<T> task, std::optional<T>* out) {
  out->emplace(co_await std::move(task));
}

}  // namespace

SeedProfile SeedProfile::draw(Random& random) {
  SeedProfile out;
  out.workload = WorkloadProfile::draw(random);
  out.troubles = TroubleProfile::draw(random);
  out.data_drives = random.chance(1, 5) ? 2 : 1;
  out.callers = random.between(1, 3);
  out.requests = random.between(30, 150);
  static constexpr uint64_t kTimeouts[] = {1 * kSecond, 4 * kSecond, 10 * kSecond};
  out.timeout_ns = kTimeouts[random.below(std::size(kTimeouts))];
  return out;
}

void SeedProfile::draw_nics(Random& random) {
  nics = true;
  nics_only = random.chance(1, 2);
  troubles.draw_nics(random);
  // Applications give up, and use their memory again, while NICs still have work for it.
  static constexpr uint64_t kTimeouts[] = {100 * kMs, 300 * kMs, 1000 * kMs};
  if (random.chance(2, 3)) timeout_ns = kTimeouts[random.below(std::size(kTimeouts))];
  // It is about bytes; and many changes of names that may or may not have happened are hard to
  // judge.
  workload.data_percent = std::max<uint32_t>(workload.data_percent, 75);
  // Troubles while there is still work.
  if (random.chance(2, 3)) {
    workload.think_max_ns = random.between(10, 60) * kMs;
    troubles.period_ns = random.between(100, 1000) * kMs;
  }
  // Last, so that the other choices of a seed stay what they were.
  if (random.chance(1, 4)) {
    troubles.kinds.push_back(Trouble::forge_keys);
    troubles.count += 4;
  }
}

std::string SeedProfile::to_string() const {
  return workload.to_string() + ", " + std::to_string(callers) + " callers, timeout " +
         std::to_string(timeout_ns / kMs) + " ms, " + std::to_string(data_drives) + " drives; " +
         troubles.to_string() +
         (quota_bytes == 0 ? "" : ", quota " + std::to_string(quota_bytes / kKiB) + " KiB") +
         (nics_only ? ", by NICs alone" : (nics ? ", by NICs" : ""));
}

SeedRun::SeedRun(uint64_t seed, const SeedMutation& mutation, SeedWorld world)
    : random_(mix64(seed)), profile_(SeedProfile::draw(random_)) {
  // Drawn apart, so that the other choices of a seed stay what they were. Now and then all
  // capabilities expire in the middle of things.
  Random apart(mix64(~seed));
  if (apart.chance(1, 6)) profile_.capability_ttl_ns = apart.between(20, 2000) * kMs;
  // ... or all meet at one or two small files, while answers get lost.
  if (apart.chance(1, 4)) {
    profile_.workload.paths = 1 + apart.below(2);
    profile_.workload.file_max_bytes = profile_.workload.chunk_bytes;
    profile_.workload.request_max_bytes =
        std::min(profile_.workload.request_max_bytes, profile_.workload.file_max_bytes);
    profile_.workload.think_max_ns = 2 * kMs;
    profile_.troubles.network = true;
  }
  // ... or the cluster holds no more than a few of the files.
  if (apart.chance(1, 6)) {
    profile_.quota_bytes = profile_.workload.file_max_bytes * apart.between(1, 3);
  }
  if (world == SeedWorld::nics) {
    profile_.draw_nics(apart);
  }
  if (mutation.profile) mutation.profile(profile_);
  requests_left_ = profile_.requests;
  options_.chunk_log2 = static_cast<uint8_t>(std::countr_zero(profile_.workload.chunk_bytes));
  options_.quota_bytes = profile_.quota_bytes;
  options_.data_drives = profile_.data_drives;
  options_.nics = profile_.nics;
  options_.controller.capability_ttl_ns = profile_.capability_ttl_ns;
  if (mutation.options) mutation.options(options_);
  cluster_ = std::make_unique<Cluster>(random_.next(), options_);
  history_ = std::make_unique<History>(cluster_->world());
  workload_ = std::make_unique<Workload>(random_.fork(), profile_.workload);
  if (mutation.cluster) mutation.cluster(*cluster_);
}

SeedRun::~SeedRun() {
  applications_.clear();
}

void SeedRun::fail(const std::string& what) {
  if (error_.empty()) error_ = what;
}

std::string SeedRun::run() {
  if (!cluster_->start()) return "start: " + cluster_->failure().to_string();
  secret_ = cluster_->token_secret();
  applications_.resize(kApplications);
  for (size_t i = 0; i < kApplications; ++i) begin_application(i);
  troubles_ = std::make_unique<Troubles>(*cluster_, *this, profile_.troubles);
  live();
  if (error_.empty()) recover();
  if (error_.empty()) check_quota();
  if (error_.empty()) check_progress();
  if (error_.empty()) check_restart();
  if (error_.empty()) check_drives();
  if (error_.empty()) judge();
  if (error_.empty() && !cluster_->failure().ok()) fail(cluster_->failure().to_string());
  if (error_.empty()) return "";
  std::string text = error_ + "\ntroubles:\n";
  for (const std::string& line : troubles_->log()) text += "  " + line + "\n";
  return text;
}

// --- applications ---

Process* SeedRun::process(size_t index) {
  return &applications_[index]->process();
}

std::string SeedRun::node(size_t index) const {
  return applications_[index]->node();
}

client::ClientOptions SeedRun::client_options() const {
  auto options = Cluster::client_options(secret_, profile_.timeout_ns, profile_.nics);
  if (profile_.nics_only) options.require = client::Require::rdma;
  return options;
}

void SeedRun::begin_application(size_t index) {
  applications_[index] =
      std::make_unique<Application>(*cluster_, *history_, next_number_++, index, client_options());
  applications_[index]->begin(*workload_, profile_.callers, &requests_left_);
}

RdmaCounters SeedRun::rdma_counters() const {
  RdmaCounters sum = cluster_->nics()->ended_counters();
  for (const auto& app : applications_) sum += app->process().rdma->counters();
  if (const Process* server = cluster_->server_process()) sum += server->rdma->counters();
  return sum;
}

uint64_t SeedRun::refused_buffers() const {
  uint64_t sum = refused_buffers_before_;
  for (const auto& app : applications_) sum += app->refused_buffers();
  return sum;
}

void SeedRun::kill_and_restart(size_t index) {
  refused_buffers_before_ += applications_[index]->refused_buffers();
  applications_[index]->kill();
  begin_application(index);
}

// --- the course of a run ---

void SeedRun::live() {
  SimWorld& world = cluster_->world();
  const uint64_t end_ns = world.clock().now_ns() + kLifeMaxNs;
  const auto idle = [&] {
    return std::ranges::all_of(applications_, [](const auto& app) { return app->idle(); });
  };
  const auto wanted = [&] {
    return world.clock().now_ns() >= troubles_->next_ns() || cluster_->server_lost() ||
           cluster_->controller_lost() || !cluster_->failure().ok() || idle();
  };
  while (world.clock().now_ns() < end_ns && cluster_->failure().ok()) {
    if (idle() && requests_left_ == 0) break;
    const uint64_t next_ns = std::min(troubles_->next_ns(), end_ns);
    const uint64_t now_ns = world.clock().now_ns();
    if (!world.run_until(wanted, next_ns > now_ns ? next_ns - now_ns : 0)) {
      world.run_until_ns(next_ns);
    }
    troubles_->act();
  }
  if (!cluster_->failure().ok())
    fail("a process does not start: " + cluster_->failure().to_string());
}

void SeedRun::recover() {
  requests_left_ = 0;
  troubles_->heal();
  if (!cluster_->wait_serving(kHealMaxNs)) {
    return fail("does not serve again: " + cluster_->failure().to_string());
  }
  const bool ended = cluster_->world().run_until(
      [&] {
        return std::ranges::all_of(applications_, [](const auto& app) { return app->idle(); });
      },
      kHealMaxNs);
  if (ended) return;
  fail("requests never end:\n" +
       history_->last(10, [](const Record& record) { return record.end == kNever; }));
}

// Never more than the quota; when there is none any more, all get on.
void SeedRun::check_quota() {
  if (profile_.quota_bytes == 0) return;
  const uint64_t reserved_bytes = cluster_->usage().reserved_bytes;
  if (reserved_bytes > profile_.quota_bytes) {
    return fail("over the quota: " + std::to_string(reserved_bytes) + " bytes are reserved");
  }
  const Status raised = cluster_->set_quota(0);
  if (!raised.ok()) fail("raise the quota: " + raised.to_string());
}

// Every application creates, writes, reads and removes something of its own.
void SeedRun::check_progress() {
  for (const auto& app : applications_) {
    const std::string path = "/progress-" + app->node();
    const auto must = [&](Op op, uint64_t length) {
      if (!error_.empty()) return;
      SimClock& clock = cluster_->world().clock();
      const uint64_t end_ns = clock.now_ns() + kProgressMaxNs;
      for (;;) {
        const Record* record = app->run({.op = op, .path = path, .length = length}, kProgressMaxNs);
        if (record == nullptr) return fail("no end after healing: " + path);
        // A second one may find what the first, which timed out, has done.
        const bool done = record->status.ok() ||
                          (op == Op::create && record->status.is(StatusCode::exists)) ||
                          (op == Op::unlink && record->status.is(StatusCode::not_found));
        if (done) return;
        if (clock.now_ns() > end_ns)
          return fail("no progress after healing: " + record->to_string());
      }
    };
    must(Op::create, 0);
    must(Op::write, profile_.workload.chunk_bytes + 100);
    must(Op::read, profile_.workload.chunk_bytes + 100);
    must(Op::unlink, 0);
  }
}

// What one reader finds: every name, with its inode, and what is in it.
struct SeedRun::Seen {
  std::map<std::string, std::pair<uint64_t, uint64_t>> names;  // inode, size
  std::map<std::string, std::vector<std::byte>> files;
};

SeedRun::Seen SeedRun::read_all(Application& reader) {
  Seen seen;
  std::vector<std::string> directories = {"/"};
  const auto ask = [&](Record asked) -> const Record* {
    const Record* record = reader.run(std::move(asked), kProgressMaxNs);
    if (record == nullptr) {
      fail("the last look got no answer");
    } else if (!record->status.ok()) {
      fail("the last look: " + record->to_string());
      record = nullptr;
    }
    return record;
  };
  while (!directories.empty() && error_.empty()) {
    const std::string directory = directories.back();
    directories.pop_back();
    const Record* listing = ask({.op = Op::readdir, .path = directory});
    if (listing == nullptr) break;
    for (const auto& entry : listing->entries) {
      const std::string path = (directory == "/" ? "" : directory) + "/" + entry.name;
      seen.names[path] = {entry.inode, entry.size_bytes};
      if (entry.type == FileType::directory) {
        directories.push_back(path);
        continue;
      }
      const Record* stat = ask({.op = Op::stat, .path = path});
      const Record* read = stat == nullptr
                               ? nullptr
                               : ask({.op = Op::read,
                                      .path = path,
                                      .length = align_up(stat->facts.size_bytes + 1, 16)});
      if (read == nullptr) return seen;
      seen.files[path].assign(read->bytes.begin(), read->bytes.begin() + read->value);
    }
  }
  return seen;
}

void SeedRun::check_restart() {
  const Seen before = read_all(*applications_[0]);
  if (!error_.empty()) return;
  for (const auto& app : applications_) app->kill();
  cluster_->crash_server(Crash::power);
  cluster_->crash_controller(Crash::power);
  cluster_->start_controller();
  cluster_->start_server();
  if (!cluster_->wait_serving()) return fail("restart: " + cluster_->failure().to_string());
  begin_application(0);
  if (!cluster_->world().run_until([&] { return applications_[0]->idle(); }, kProgressMaxNs)) {
    return fail("restart: a client does not connect");
  }
  const Seen after = read_all(*applications_[0]);
  if (!error_.empty()) return;
  if (before.names != after.names) fail("names differ after the last restart");
  if (before.files != after.files) fail("bytes differ after the last restart");
  std::map<uint64_t, bool> live;
  for (const auto& [path, facts] : after.names) live[facts.first] = true;
  for (const uint64_t inode : cluster_->store()->inodes()) {
    if (!live.contains(inode)) {
      fail("the store keeps bytes of inode " + std::to_string(inode & 0xFFFFFFFFFFFF) +
           ", which has no name");
    }
  }
}

void SeedRun::check_drives() {
  std::optional<ScrubReport> report;
  cluster_->server_process()->loop.spawn(keep(cluster_->store()->scrub(0), &report));
  if (!cluster_->world().run_until([&] { return report.has_value(); }, kHealMaxNs)) {
    return fail("the scrub does not end");
  }
  if (!report->finished) fail("the scrub did not finish");
  if (!report->findings.empty()) fail("scrub: " + report->findings[0]);
  std::optional<Result<MetaFindings>> findings;
  cluster_->controller_process()->loop.spawn(keep(check_metadata(*cluster_->meta()), &findings));
  if (!cluster_->world().run_until([&] { return findings.has_value(); }, kHealMaxNs)) {
    return fail("the check of the metadata does not end");
  }
  if (!findings->has_value()) return fail("metadata: " + findings->error().to_string());
  if (!(*findings)->findings.empty()) fail("metadata: " + (*findings)->findings[0]);
}

// Answers that nobody should ever get.
void SeedRun::check_answers() {
  for (const Record& record : history_->records()) {
    if (record.outcome != Outcome::failed) continue;
    const Status& status = record.status;
    bool expected = status.is(StatusCode::unavailable) || status.is(StatusCode::timed_out);
    // A file that was replaced or cut meanwhile, a directory in the way.
    if (record.op == Op::write) {
      expected = expected || status.is(StatusCode::not_found) || status.is(StatusCode::stale) ||
                 status.is(StatusCode::invalid);
    }
    if (profile_.quota_bytes > 0 &&
        (record.op == Op::write || record.op == Op::create || record.op == Op::truncate)) {
      expected = expected || (status.is(StatusCode::no_space) && status.errno_value() == EDQUOT);
    }
    const bool hangs = std::ranges::count(profile_.troubles.kinds, Trouble::hang_drive) > 0;
    if ((profile_.troubles.read_errors || hangs) &&
        (record.op == Op::read || record.op == Op::write)) {
      expected = expected || status.is(StatusCode::io);
    }
    if (!expected) fail("an unexpected answer: " + record.to_string());
  }
}

void SeedRun::judge() {
  for (const auto& app : applications_) app->look_at_memory();
  check_answers();
  if (std::string wrong = check_buffers(*history_); !wrong.empty()) fail(wrong);
  if (std::string wrong = check_names(*history_); !wrong.empty()) fail(wrong);
  for (const auto& [inode, file] : file_histories(*history_)) {
    if (!error_.empty()) return;
    if (std::string wrong = check_sizes(file, profile_.workload.chunk_bytes); !wrong.empty())
      fail(wrong);
    if (std::string wrong = check_bytes(file, profile_.workload.chunk_bytes, *history_);
        !wrong.empty()) {
      fail(wrong);
    }
  }
}

}  // namespace gd2fs::sim
