#include "cli/controller_process.h"

#include "base/log.h"
#include "cli/daemon.h"
#include "cli/listen_address.h"
#include "wire/token.h"

namespace gd2fs::cli {
namespace {

controller::ControllerOptions options_of(const Config& config, const DataDir& data,
                                         const std::string& secret, Random& random) {
  controller::ControllerOptions options;
  options.incarnation = random.next() | 1;
  options.deployment_id = data.deployment_id();
  options.deployment_secret = secret;
  options.insecure = config.insecure;
  options.version = GD2FS_VERSION;
  options.make_secret = secure_random;
  options.sessions_max = static_cast<uint32_t>(config.controller_sessions_max);
  options.lease_ns = config.controller_lease_ns;
  options.capability_ttl_ns = config.controller_capability_ns;
  return options;
}

}  // namespace

ControllerProcess::ControllerProcess(Clock& clock)
    : runner_(clock, "controller"), meta_worker_("meta"), resolver_("resolver") {}

ControllerProcess::~ControllerProcess() {
  if (const Status status = stop(); !status.ok()) {
    GD2FS_LOG_ERROR("controller: {}", status.to_string());
  }
}

Status ControllerProcess::open_disk(const DataDir& data) {
  GD2FS_TRY(make_private_directory(data.meta_path()));
  GD2FS_ASSIGN(disk_, gd2fs::open_disk(runner_.loop(), data.meta_path(), DiskEngine::threads));
  return {};
}

Result<std::unique_ptr<ControllerProcess>> ControllerProcess::start(Clock& clock,
                                                                    const Config& config,
                                                                    const DataDir& data,
                                                                    const std::string& secret,
                                                                    Random random) {
  GD2FS_ASSIGN(const ListenAddress listen, parse_listen_address(config.listen, kPortDefault));
  std::unique_ptr<ControllerProcess> process(new ControllerProcess(clock));
  GD2FS_TRY(process->open_disk(data));
  process->fabric_ = std::make_unique<TcpFabric>(process->runner_.loop(), process->resolver_);
  SqliteMetaOptions meta;
  meta.file.deployment_id = data.deployment_id();
  meta.file.new_deployment_id = data.deployment_id();
  controller::ControllerOptions options = options_of(config, data, secret, random);
  options.listen = {listen.fabric_address()};
  GD2FS_TRY(process->runner_.run(process->open(meta, std::move(options))).with("controller"));
  return process;
}

Task<Status> ControllerProcess::open(SqliteMetaOptions meta,
                                     controller::ControllerOptions options) {
  auto store = co_await SqliteMetaStore::open(runner_.loop(), *disk_, meta_worker_, meta);
  if (!store.has_value()) co_return store.error();
  store_ = std::move(*store);
  auto opened =
      co_await controller::Controller::open(runner_.loop(), *store_, *fabric_, std::move(options));
  if (!opened.has_value()) co_return opened.error();
  controller_ = std::move(*opened);
  address_ = controller_->addresses().front();
  co_return Status();
}

Status ControllerProcess::stop() {
  if (stopped_) return {};
  stopped_ = true;
  const Status status = runner_.run(close());
  runner_.stop();
  return status;
}

Task<Status> ControllerProcess::close() {
  if (controller_ != nullptr) {
    co_await controller_->stop();
    controller_.reset();
  }
  Status status;
  if (store_ != nullptr) {
    status = co_await store_->close();
    store_.reset();
  }
  fabric_.reset();
  co_return status;
}

Result<Cluster> ControllerProcess::create_cluster(const std::string& name) {
  return runner_.run(controller_->create_cluster(name));
}

Task<bool> ControllerProcess::ask_serving() {
  co_return controller_ != nullptr && controller_->serving();
}

bool ControllerProcess::serving() {
  return runner_.run(ask_serving());
}

Task<std::vector<std::pair<std::string, double>>> ControllerProcess::ask_metrics() {
  co_return controller_->metrics();
}

std::vector<std::pair<std::string, double>> ControllerProcess::metrics() {
  return runner_.run(ask_metrics());
}

Result<StartedController> start_controller(Clock& clock, const Config& config, Random& random) {
  GD2FS_ASSIGN(DataDir data, DataDir::open(config.data, random.next() | 1));
  GD2FS_ASSIGN(std::string secret, deployment_key(config, data));
  GD2FS_ASSIGN(std::unique_ptr<ControllerProcess> process,
               ControllerProcess::start(clock, config, data, secret, random.fork()));
  GD2FS_ASSIGN(Cluster cluster, process->create_cluster(config.cluster));
  GD2FS_TRY(leave_token(data, cluster.name, cluster.token));
  return StartedController{std::move(data), std::move(secret), std::move(process),
                           std::move(cluster)};
}

std::string ready_address(const ControllerProcess& controller) {
  return "gd2fs" + reachable_address(controller.address()).substr(std::string("tcp").size());
}

}  // namespace gd2fs::cli
