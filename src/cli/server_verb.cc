// `gd2fs server`: a data server alone, in the foreground.
//
// It joins the deployment of its controller: the first time it asks the controller, as an
// administrator, which one that is, and from then on it belongs to that one for ever.
#include <cstdio>

#include "base/log.h"
#include "cli/admin_session.h"
#include "cli/command.h"
#include "cli/daemon.h"
#include "cli/listen_address.h"
#include "cli/metrics_server.h"
#include "cli/server_process.h"

namespace gd2fs::cli {
namespace {

struct Nothing {};

Result<std::vector<std::string>> controllers_of(const Config& config) {
  std::vector<std::string> controllers;
  for (const std::string& text : config.server_controllers) {
    GD2FS_ASSIGN(const ListenAddress address, parse_listen_address(text, kPortDefault));
    controllers.push_back(address.fabric_address());
  }
  if (controllers.empty()) {
    return fail(StatusCode::invalid, "no controller: give --controller HOST:PORT");
  }
  return controllers;
}

Result<uint64_t> deployment_of(const Config& config, const std::vector<std::string>& controllers) {
  Config admin_config = config;
  admin_config.client_cp.clear();
  for (const std::string& controller : controllers) {
    admin_config.client_cp += (admin_config.client_cp.empty() ? "gd2fs://" : ",") +
                              controller.substr(std::string("tcp://").size());
  }
  GD2FS_ASSIGN(const std::unique_ptr<AdminSession> admin, AdminSession::connect(admin_config));
  GD2FS_ASSIGN(const auto status, admin->ask<msg::DeploymentStatusReply>(
                                      msg::Type::deployment_status, msg::DeploymentStatusT{}));
  return status.deployment_id;
}

bool is_new(const std::string& data) {
  return ::access((data + "/deployment").c_str(), F_OK) != 0;
}

Status run(const Invocation& invocation, const Nothing&) {
  const Config& config = invocation.config;
  if (config.data.empty()) return {StatusCode::invalid, "no data directory: give --data DIR"};
  StopSignals signals;
  raise_file_limit();
  warn_if_insecure(config);
  RealClock clock;
  Random random(Random::seed_from_kernel());
  ServerPlace place;
  GD2FS_ASSIGN(place.controllers, controllers_of(config));
  uint64_t deployment_id = 0;
  if (is_new(config.data)) {
    GD2FS_ASSIGN(deployment_id, deployment_of(config, place.controllers));
  }
  GD2FS_ASSIGN(const DataDir data, DataDir::open(config.data, deployment_id));
  place.deployment_id = data.deployment_id();
  GD2FS_ASSIGN(place.secret, deployment_key(config, data));
  place.drives = config.drives;
  if (place.drives.empty()) place.drives = {data.drive_path()};
  const ListenAddress tcp{"0.0.0.0", kPortDefault + 1};
  GD2FS_ASSIGN(const auto addresses, parse_server_listen(config.server_listen, tcp));
  for (const ListenAddress& address : addresses) place.listen.push_back(address.fabric_address());
  GD2FS_ASSIGN(const std::unique_ptr<ServerProcess> server,
               ServerProcess::start(clock, config, place, random.fork()));
  std::unique_ptr<MetricsServer> metrics;
  if (!config.metrics_listen.empty()) {
    GD2FS_ASSIGN(metrics, MetricsServer::start(config.metrics_listen,
                                               {.values = [&] { return server->metrics(); },
                                                .ready = [&] { return server->serving(); }}));
  }
  std::printf("ready %s server=%llu\n", reachable_address(server->addresses().front()).c_str(),
              static_cast<unsigned long long>(config.server_id));
  std::fflush(stdout);
  const int signal_number = signals.wait();
  GD2FS_LOG_INFO("signal {}: stopping", signal_number);
  metrics.reset();
  return server->stop();
}

}  // namespace

void add_server(CLI::App& app, Chosen& chosen) {
  CLI::App* verb = app.add_subcommand("server", "Run a data server here, in the foreground");
  add_setting_flag(*verb, chosen, "--data", "data", "DIR");
  add_setting_flag(*verb, chosen, "--controller", "server.controllers", "HOST:PORT");
  add_setting_flag(*verb, chosen, "--listen", "server.listen", "HOST:PORT");
  add_setting_flag(*verb, chosen, "--id", "server.id", "NUMBER");
  add_setting_flag(*verb, chosen, "--slab", "slab", "SIZE");
  add_setting_flag(*verb, chosen, "--drive", "drives", "DIR");
  add_setting_flag(*verb, chosen, "--forget-drive", "store.forget_drives", "UUID");
  add_setting_flag(*verb, chosen, "--metrics", "metrics", "HOST:PORT");
  add_setting_flag(*verb, chosen, "--insecure", "insecure", "");
  when_named(verb, chosen, std::make_shared<Nothing>(), run, true);
}

}  // namespace gd2fs::cli
