#include "sim/cluster/cluster.h"

#include <algorithm>
#include <optional>

#include "wire/token.h"

namespace gd2fs::sim {

StoreOptions ClusterOptions::small_store() {
  StoreOptions options;
  options.slab_bytes = 16 * kMiB;
  options.arena_bytes = 16 * kMiB;
  options.data_file_bytes = 4 * kMiB;
  options.drive_reserve_bytes = 1 * kMiB;
  return options;
}

server::ServerOptions ClusterOptions::small_server() {
  server::ServerOptions options;
  options.read_bytes_max = 4 * kMiB;
  options.write_bytes_max = 4 * kMiB;
  options.session_read_bytes_max = 2 * kMiB;
  options.session_write_bytes_max = 2 * kMiB;
  options.read_ops_max = 256;
  options.write_ops_max = 256;
  options.small_steps_max = 32;
  options.big_steps_max = 16;
  return options;
}

namespace {

// Arenas that the server's NIC knows.
class KnownArenas final : public ArenaSource {
 public:
  explicit KnownArenas(Fabric& fabric) : fabric_(fabric) {}
  Result<Arena> make(size_t length_bytes) override {
    Result<Arena> arena = source_->make(length_bytes);
    if (!arena.has_value()) return arena;
    // A NIC that refuses it has its bytes copied.
    [[maybe_unused]] const Status added = fabric_.add_memory(memory_of(*arena));
    return arena;
  }
  void destroy(Arena& arena) override {
    if (arena.data != nullptr) fabric_.remove_memory(memory_of(arena));
    source_->destroy(arena);
  }

 private:
  static FabricMemory memory_of(const Arena& arena) {
    FabricMemory memory;
    memory.address = arena.data;
    memory.length_bytes = arena.length_bytes;
    return memory;
  }
  std::unique_ptr<ArenaSource> source_ = plain_arena_source();
  Fabric& fabric_;
};

}  // namespace

// --- the controller's process ---

struct Cluster::ControllerProcess : Process {
  Cluster& cluster;
  SimDisk disk;
  InlineWorker worker;
  const uint64_t drive_life;
  std::unique_ptr<SqliteMetaStore> store;
  std::unique_ptr<MetaStore> mutant;
  std::unique_ptr<controller::Controller> controller;
  bool ended = false;
  TaskGroup tasks;  // destroyed before what they touch

  explicit ControllerProcess(Cluster& owner)
      : Process(owner.world_, owner.network_, "controller"),
        cluster(owner),
        disk(loop, owner.meta_drive_),
        drive_life(owner.meta_drive_.lives()),
        tasks(loop) {
    tasks.spawn(open());
  }

  Task<void> open() {
    SqliteMetaOptions meta;
    meta.file.new_deployment_id = kDeployment;
    auto opened = co_await SqliteMetaStore::open(loop, disk, worker, meta);
    if (!opened.has_value()) {
      cluster.fail_controller(opened.error().with("open metadata"));
      co_return;
    }
    store = std::move(*opened);
    controller::ControllerOptions options = cluster.options_.controller;
    options.listen = {kControllerAddress};
    options.incarnation = cluster.world_.random().next() | 1;
    options.deployment_id = store->deployment_id();
    options.deployment_secret = cluster.secret_;
    Cluster* owner = &cluster;
    options.make_secret = [owner](Bytes out) { owner->world_.random().fill(out); };
    if (cluster.options_.mutate_meta) mutant = cluster.options_.mutate_meta(*store);
    auto made = co_await controller::Controller::open(loop, metadata(), fabric, std::move(options));
    if (!made.has_value()) {
      cluster.fail_controller(made.error().with("open controller"));
      co_return;
    }
    auto first = co_await (*made)->create_cluster(kName);
    if (!first.has_value()) {
      cluster.fail_controller(first.error().with("create cluster"));
      co_return;
    }
    const ClusterPolicy policy = first->policy;
    const Status set = co_await set_policy(made->get(), policy);
    if (!set.ok()) {
      cluster.fail_controller(set.with("set policy"));
      co_return;
    }
    controller = std::move(*made);
  }

  // What the options say, if it is not so already.
  Task<Status> set_policy(controller::Controller* of, ClusterPolicy known) {
    ClusterPolicy policy = known;
    policy.chunk_log2 = cluster.options_.chunk_log2;
    policy.quota_bytes = cluster.options_.quota_bytes;
    if (policy == known) co_return Status();
    const MutationTag tag{cluster.world_.random().next() | 1, 1, 1};
    auto changed = co_await of->names().set_policy(kName, policy, tag);
    co_return changed.has_value() ? Status() : changed.error();
  }

  MetaStore& metadata() { return mutant != nullptr ? *mutant : *store; }

  Task<void> end() {
    if (controller != nullptr) co_await controller->stop();
    controller.reset();
    mutant.reset();
    if (store != nullptr) {
      const Status closed = co_await store->close();
      if (!closed.ok()) cluster.fail_controller(closed.with("close metadata"));
    }
    ended = true;
  }
};

// --- the data server's process ---

struct Cluster::ServerProcess : Process {
  Cluster& cluster;
  std::vector<uint64_t> drive_lives;
  std::unique_ptr<Store> store;
  std::unique_ptr<Store> mutant;
  std::unique_ptr<server::Server> server;
  bool ended = false;
  TaskGroup tasks;

  explicit ServerProcess(Cluster& owner)
      : Process(owner.world_, owner.network_, "server", owner.nics(), kServerDevice),
        cluster(owner),
        tasks(loop) {
    for (const auto& drive : cluster.data_drives_) drive_lives.push_back(drive->lives());
    tasks.spawn(open());
  }

  Task<void> open() {
    std::vector<StoreDrive> drives;
    drives.reserve(cluster.data_drives_.size());
    for (const auto& drive : cluster.data_drives_) {
      drives.push_back({std::make_unique<SimDisk>(loop, *drive), std::make_unique<InlineWorker>()});
    }
    StoreOptions store_options = cluster.options_.store;
    store_options.deployment_id = kDeployment;
    Random& random = cluster.world_.random();
    auto arenas = std::make_unique<KnownArenas>(door());
    auto opened = co_await Store::open(loop, std::move(drives), std::move(arenas), store_options,
                                       random.fork());
    if (!opened.has_value()) {
      cluster.fail_server(opened.error().with("open store"));
      co_return;
    }
    store = std::move(*opened);
    server::ServerOptions options = cluster.options_.server;
    options.incarnation = random.next() | 1;
    options.deployment_id = kDeployment;
    options.deployment_secret = cluster.secret_;
    options.controllers.insert(options.controllers.begin(), kControllerAddress);
    options.listen = {kServerAddress};
    if (rdma.has_value()) options.listen.emplace_back(kServerRdmaAddress);
    if (cluster.options_.mutate_store) mutant = cluster.options_.mutate_store(loop, *store);
    Store& used = mutant != nullptr ? *mutant : *store;
    server = std::make_unique<server::Server>(loop, used, door(), random.fork(), options);
    server->start();
  }

  Task<void> end() {
    if (server != nullptr) co_await server->stop();
    if (store != nullptr) {
      const Status closed = co_await store->close();
      if (!closed.ok()) cluster.fail_server(closed.with("close store"));
    }
    server.reset();
    ended = true;
  }
};

// --- the cluster ---

Cluster::Cluster(uint64_t seed, ClusterOptions options)
    : options_(std::move(options)),
      world_(seed),
      network_(world_),
      meta_drive_("meta", world_.random().next(), options_.meta_drive) {
  if (options_.nics) nics_ = std::make_unique<SimNics>(world_);
  for (size_t i = 0; i < options_.data_drives; ++i) {
    data_drives_.push_back(std::make_unique<SimDrive>("d" + std::to_string(i),
                                                      world_.random().next(), options_.data_drive));
  }
}

Cluster::~Cluster() {
  for (const auto& client : clients_) network_.kill(client->node());
  clients_.clear();
  if (server_ != nullptr) crash_server(Crash::kill);
  if (controller_ != nullptr) crash_controller(Crash::kill);
}

void Cluster::fail_controller(const Status& why) {
  if (failure_.ok() && !controller_lost()) failure_ = why;
}

void Cluster::fail_server(const Status& why) {
  const auto hangs = [](const auto& drive) { return drive->hung(); };
  if (std::ranges::any_of(data_drives_, hangs)) {
    server_gave_up_ = true;
  } else if (failure_.ok() && !server_lost()) {
    failure_ = why;
  }
}

bool Cluster::start() {
  start_controller();
  start_server();
  return wait_serving();
}

bool Cluster::serving() {
  return controller() != nullptr && controller()->serving() && server() != nullptr &&
         server()->serving();
}

bool Cluster::wait_serving(uint64_t limit_ns) {
  const bool reached = world_.run_until([&] { return serving() || !failure_.ok(); }, limit_ns);
  return reached && failure_.ok();
}

void Cluster::start_controller() {
  CHECK(controller_ == nullptr);
  controller_ = std::make_unique<ControllerProcess>(*this);
}

void Cluster::start_server() {
  CHECK(server_ == nullptr);
  server_gave_up_ = false;
  server_ = std::make_unique<ServerProcess>(*this);
}

void Cluster::crash_controller(Crash crash) {
  network_.kill("controller");
  if (crash == Crash::kill) {
    meta_drive_.kill();
  } else {
    meta_drive_.crash();
  }
  controller_.reset();
}

void Cluster::crash_server(Crash crash) {
  network_.kill("server");
  for (const auto& drive : data_drives_) {
    if (crash == Crash::kill) {
      drive->kill();
    } else {
      drive->crash();
    }
  }
  server_.reset();
}

void Cluster::end_controller() {
  controller_->tasks.spawn(controller_->end());
  CHECK(world_.run_until([&] { return controller_->ended; }));
  controller_.reset();
}

void Cluster::end_server() {
  server_->tasks.spawn(server_->end());
  CHECK(world_.run_until([&] { return server_->ended; }));
  server_.reset();
}

Status Cluster::set_quota(uint64_t quota_bytes) {
  CHECK(controller() != nullptr);
  options_.quota_bytes = quota_bytes;
  std::optional<Status> set;
  struct Set {
    static Task<void> run(ControllerProcess* process, std::optional<Status>* out) {
      ClusterPolicy other;  // than the one that is wanted
      other.quota_bytes = process->cluster.options_.quota_bytes + 1;
      out->emplace(co_await process->set_policy(process->controller.get(), other));
    }
  };
  controller_->loop.spawn(Set::run(controller_.get(), &set));
  CHECK(world_.run_until([&] { return set.has_value(); }));
  return *set;
}

ClusterUsage Cluster::usage() {
  CHECK(controller() != nullptr);
  std::optional<Result<ClusterUsage>> usage;
  struct Ask {
    static Task<void> run(controller::Controller* of, std::optional<Result<ClusterUsage>>* out) {
      const uint16_t id = of->clusters().find(kName)->id;
      out->emplace(co_await of->names().usage(id));
    }
  };
  controller_->loop.spawn(Ask::run(controller(), &usage));
  CHECK(world_.run_until([&] { return usage.has_value(); }) && usage->has_value());
  return **usage;
}

Process* Cluster::controller_process() {
  return controller_.get();
}
Process* Cluster::server_process() {
  return server_.get();
}
controller::Controller* Cluster::controller() {
  return controller_ == nullptr ? nullptr : controller_->controller.get();
}
server::Server* Cluster::server() {
  return server_ == nullptr ? nullptr : server_->server.get();
}
Store* Cluster::store() {
  return server_ == nullptr ? nullptr : server_->store.get();
}

MetaStore* Cluster::meta() {
  return controller() == nullptr ? nullptr : &controller_->metadata();
}

bool Cluster::controller_lost() const {
  return controller_ != nullptr && controller_->drive_life != meta_drive_.lives();
}

bool Cluster::server_lost() const {
  if (server_ == nullptr) return false;
  if (server_gave_up_) return true;
  for (size_t i = 0; i < data_drives_.size(); ++i) {
    if (server_->drive_lives[i] != data_drives_[i]->lives()) return true;
  }
  return false;
}

std::string Cluster::token_secret() {
  CHECK(controller() != nullptr);
  return controller()->clusters().keys(kName).at(0);
}

client::ClientOptions Cluster::client_options(const std::string& secret, uint64_t timeout_ns,
                                              bool nics) {
  client::ClientOptions options;
  options.controllers = {kControllerAddress};
  options.locals = {client::LocalAddress{}};
  if (nics) options.locals[0].transport = client::Transport::rdma;
  options.cluster = kName;
  options.key = secret;
  options.lanes = 2;
  options.timeout_ns = timeout_ns;
  return options;
}

Client& Cluster::add_client(uint64_t timeout_ns) {
  const std::string node = "client" + std::to_string(clients_.size());
  const int devices = SimNics::kDevices - kFirstClientDevice;
  const int device = kFirstClientDevice + static_cast<int>(clients_.size()) % devices;
  auto options = client_options(token_secret(), timeout_ns, options_.nics);
  clients_.push_back(
      std::make_unique<Client>(world_, network_, node, std::move(options), nics_.get(), device));
  return *clients_.back();
}

}  // namespace gd2fs::sim
