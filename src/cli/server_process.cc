#include "cli/server_process.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <unistd.h>

#include "base/cores.h"
#include "base/log.h"
#include "cli/data_dir.h"
#include "cli/listen_address.h"
#include "cli/metrics_server.h"
#include "cli/units.h"
#include "fabric/same_host.h"

namespace gd2fs::cli {
namespace {

constexpr uint64_t kLookAgainNs = 2 * kMs;
// A client on this host copies 1 MiB in 50 us before it asks for the next one.
constexpr uint64_t kSpinNs = 100 * kUs;
// A GPU of this host takes 64 MiB in 1.3 ms before its client asks for more, and a sleeper's
// wake-up costs a read 50 to 100 us. Where cores are many, one may look for work that long.
constexpr uint64_t kManyCoresSpinNs = 2 * kMs;
constexpr uint32_t kManyCores = 16;

uint64_t spin_ns() {
  return usable_cores() >= kManyCores ? kManyCoresSpinNs : kSpinNs;
}

DiskEngine engine_of(const Config& config) {
  if (config.disk_engine == "io_uring") return DiskEngine::io_uring;
  if (config.disk_engine == "threads") return DiskEngine::threads;
  return DiskEngine::automatic;
}

Result<StoreOptions> store_options_of(const Config& config, const ServerPlace& place) {
  StoreOptions options;
  options.deployment_id = place.deployment_id;
  options.slab_bytes = config.slab_bytes != 0 ? config.slab_bytes : default_slab_bytes();
  if (config.store_arena_bytes != 0) options.arena_bytes = config.store_arena_bytes;
  options.data_file_bytes = config.store_data_file_bytes;
  options.drive_reserve_bytes = config.store_reserve_bytes;
  options.drive_deadline_ns = config.store_deadline_ns;
  options.drive_window_bytes = config.store_window_bytes;
  // Four check the reads of the fastest drives there are; the loop and its clients need the others.
  constexpr uint32_t kCheckHelpersMax = 4;
  options.check_helpers = std::min(kCheckHelpersMax, usable_cores() / 2);
  options.commit_delay_ns = config.store_commit_delay_ns;
  options.rebuild = config.store_rebuild;
  for (const std::string& text : config.store_forget_drives) {
    GD2FS_ASSIGN(const DriveUuid uuid, DriveUuid::parse(text));
    options.forget_drives.push_back(uuid);
  }
  return options;
}

// Where every process of this machine, whoever runs it, can find the server's socket. No data lies
// there.
std::string same_host_directory(const Config& config, const ServerPlace& place) {
  if (!config.server_shm) return {};
  if (!config.server_shm_directory.empty()) return config.server_shm_directory;
  char name[64];
  std::snprintf(name, sizeof name, "%016llx-%llu",
                static_cast<unsigned long long>(place.deployment_id),
                static_cast<unsigned long long>(config.server_id));
  const std::string parent = ::access("/run", W_OK) == 0 ? "/run/" : "/tmp/";
  return parent + std::string(kHostDoorPrefix) + name;
}

server::ServerOptions server_options_of(const Config& config, const ServerPlace& place,
                                        uint64_t slab_bytes, Random& random) {
  server::ServerOptions options;
  options.server_id = static_cast<uint32_t>(config.server_id);
  options.incarnation = random.next() | 1;
  options.deployment_id = place.deployment_id;
  options.deployment_secret = place.secret;
  options.insecure = config.insecure;
  options.controllers = place.controllers;
  options.listen = place.listen;
  options.any_port = place.any_port;
  options.advertise = config.server_advertise;
  options.same_host_directory = same_host_directory(config, place);
  options.sessions_max = static_cast<uint32_t>(config.server_sessions_max);
  options.session_requests_max = static_cast<uint32_t>(config.server_session_requests_max);
  options.read_ops_max = static_cast<uint32_t>(config.server_read_ops_max);
  options.write_ops_max = static_cast<uint32_t>(config.server_write_ops_max);
  // What is on its way must leave most of the slab to the cache.
  options.read_bytes_max = std::min(config.server_read_bytes_max, slab_bytes / 4);
  options.write_bytes_max = std::min(config.server_write_bytes_max, slab_bytes / 4);
  options.session_read_bytes_max = std::min(options.session_read_bytes_max, options.read_bytes_max);
  options.session_write_bytes_max =
      std::min(options.session_write_bytes_max, options.write_bytes_max);
  options.stall_ns = config.server_stall_ns;
  options.heartbeat_ns = config.server_heartbeat_ns;
  return options;
}

}  // namespace

uint64_t default_slab_bytes() {
  uint64_t memory = static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                    static_cast<uint64_t>(::sysconf(_SC_PAGE_SIZE));
  // A container's limit; the file says "max" where there is none.
  uint64_t limit = 0;
  if (std::ifstream("/sys/fs/cgroup/memory.max") >> limit && limit > 0) {
    memory = std::min(memory, limit);
  }
  return std::max(align_down(memory / 4, 64 * kMiB), 64 * kMiB);
}

ServerProcess::ServerProcess(Clock& clock)
    : runner_(clock, "server", spin_ns()), resolver_("resolver") {}

ServerProcess::~ServerProcess() {
  if (const Status status = stop(); !status.ok()) {
    GD2FS_LOG_ERROR("server: {}", status.to_string());
  }
}

Status ServerProcess::open_drives(const Config& config, const ServerPlace& place) {
  for (size_t i = 0; i < place.drives.size(); ++i) {
    const std::string& path = place.drives[i];
    GD2FS_TRY(make_private_directory(path).with("drive"));
    StoreDrive drive;
    GD2FS_ASSIGN(drive.disk, open_disk(runner_.loop(), path, engine_of(config)));
    drive.worker = std::make_unique<ThreadWorker>("drive" + std::to_string(i));
    drives_.push_back(std::move(drive));
  }
  return {};
}

Result<std::unique_ptr<ServerProcess>> ServerProcess::start(Clock& clock, const Config& config,
                                                            const ServerPlace& place,
                                                            Random random) {
  GD2FS_ASSIGN(const StoreOptions store_options, store_options_of(config, place));
  std::unique_ptr<ServerProcess> process(new ServerProcess(clock));
  GD2FS_TRY(process->open_drives(config, place));
  TcpOptions tcp;
  tcp.pumps = LanePumps::of_this_machine(0);
  process->fabric_ =
      std::make_unique<RdmaFabric>(process->runner_.loop(), process->resolver_, std::move(tcp));
  server::ServerOptions options =
      server_options_of(config, place, store_options.slab_bytes, random);
  GD2FS_LOG_INFO("server: slab {}, {} drives", readable_size(store_options.slab_bytes),
                 place.drives.size());
  GD2FS_TRY(process->runner_.run(process->open(store_options, std::move(options), random))
                .with("server"));
  return process;
}

Task<Status> ServerProcess::open(StoreOptions store_options, server::ServerOptions options,
                                 Random random) {
  auto arenas = std::make_unique<RegisteredArenas>(memfd_arena_source(), *fabric_);
  arenas_ = arenas.get();
  auto store = co_await Store::open(runner_.loop(), std::move(drives_), std::move(arenas),
                                    store_options, random.fork());
  if (!store.has_value()) co_return store.error();
  store_ = std::move(*store);
  server_ = std::make_unique<server::Server>(runner_.loop(), *store_, *fabric_, random.fork(),
                                             std::move(options));
  server_->start();
  const Status status = co_await wait_until_serving();
  co_return status;
}

Task<Status> ServerProcess::wait_until_serving() {
  while (!server_->serving()) {
    if (!server_->fatal().ok()) co_return server_->fatal();
    co_await Delay(runner_.loop(), kLookAgainNs);
  }
  co_return Status();
}

Status ServerProcess::stop() {
  if (stopped_) return {};
  stopped_ = true;
  const Status status = runner_.run(close());
  runner_.stop();
  return status;
}

Task<Status> ServerProcess::close() {
  if (server_ != nullptr) co_await server_->stop();
  Status status;
  if (store_ != nullptr) status = co_await store_->close();
  server_.reset();
  if (store_ != nullptr) arenas_->forget_fabric();
  fabric_.reset();
  store_.reset();
  drives_.clear();
  co_return status;
}

Task<std::vector<std::string>> ServerProcess::ask_addresses() {
  co_return server_->addresses();
}

std::vector<std::string> ServerProcess::addresses() {
  return runner_.run(ask_addresses());
}

Task<bool> ServerProcess::ask_serving() {
  co_return server_ != nullptr && server_->serving();
}

bool ServerProcess::serving() {
  return runner_.run(ask_serving());
}

Task<std::vector<std::pair<std::string, double>>> ServerProcess::ask_metrics() {
  std::vector<std::pair<std::string, double>> values;
  for (const auto& [name, value] : server_->metrics()) values.emplace_back(name, value);
  // By RDMA, all NICs together; what went through the stream instead shows as copied.
  const RdmaCounters rdma = fabric_->counters();
  values.emplace_back("gd2fs_rdma_written_bytes_total", static_cast<double>(rdma.written_bytes));
  values.emplace_back("gd2fs_rdma_read_bytes_total", static_cast<double>(rdma.read_bytes));
  values.emplace_back("gd2fs_rdma_copied_bytes_total", static_cast<double>(rdma.copied_bytes));
  values.emplace_back("gd2fs_rdma_credit_waits_total", static_cast<double>(rdma.credit_waits));
  values.emplace_back("gd2fs_rdma_recalls_total", static_cast<double>(rdma.recalls));
  values.emplace_back("gd2fs_rdma_broken_sessions_total", static_cast<double>(rdma.broken));
  for (const RdmaNicFacts& nic : fabric_->nics()) {
    const auto add = [&](std::string_view name, double value) {
      values.emplace_back(labelled(name, {{"address", nic.address}, {"nic", nic.name}}), value);
    };
    add("gd2fs_rdma_nic_up", nic.up ? 1 : 0);
    add("gd2fs_rdma_nic_sessions", static_cast<double>(nic.queue_pairs));
    add("gd2fs_rdma_nic_written_bytes_total", static_cast<double>(nic.counters.written_bytes));
    add("gd2fs_rdma_nic_read_bytes_total", static_cast<double>(nic.counters.read_bytes));
    add("gd2fs_rdma_nic_copied_bytes_total", static_cast<double>(nic.counters.copied_bytes));
    add("gd2fs_rdma_nic_broken_sessions_total", static_cast<double>(nic.counters.broken));
  }
  co_return values;
}

std::vector<std::pair<std::string, double>> ServerProcess::metrics() {
  return runner_.run(ask_metrics());
}

}  // namespace gd2fs::cli
