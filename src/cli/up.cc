// `gd2fs up`: a controller and a data server in one process, in the foreground.
#include <cstdio>

#include "base/log.h"
#include "cli/command.h"
#include "cli/controller_process.h"
#include "cli/daemon.h"
#include "cli/listen_address.h"
#include "cli/metrics_server.h"
#include "cli/server_process.h"

namespace gd2fs::cli {
namespace {

Result<ServerPlace> place_of(const Config& config, const DataDir& data, const std::string& secret,
                             const std::string& controller) {
  ServerPlace place;
  place.deployment_id = data.deployment_id();
  place.secret = secret;
  place.controllers = {reachable_address(controller)};
  place.drives = config.drives;
  if (place.drives.empty()) place.drives = {data.drive_path()};
  GD2FS_ASSIGN(const ListenAddress beside, parse_listen_address(config.listen, kPortDefault));
  const ListenAddress tcp = server_beside(beside);
  GD2FS_ASSIGN(const auto listen, parse_server_listen(config.server_listen, tcp));
  for (const ListenAddress& address : listen) place.listen.push_back(address.fabric_address());
  place.any_port = place.listen.front() == tcp.fabric_address();
  return place;
}

MetricsServer::Sources sources_of(ControllerProcess& controller, ServerProcess& server) {
  return {.values =
              [&] {
                MetricValues values = controller.metrics();
                for (auto& value : server.metrics()) values.push_back(std::move(value));
                return values;
              },
          .ready = [&] { return controller.serving() && server.serving(); }};
}

struct Nothing {};

Status up(const Invocation& invocation, const Nothing&) {
  const Config& config = invocation.config;
  StopSignals signals;
  raise_file_limit();
  warn_if_insecure(config);
  RealClock clock;
  Random random(Random::seed_from_kernel());
  GD2FS_ASSIGN(const StartedController started, start_controller(clock, config, random));
  ControllerProcess& controller = *started.process;
  GD2FS_ASSIGN(const ServerPlace place,
               place_of(config, started.data, started.secret, controller.address()));
  GD2FS_ASSIGN(const std::unique_ptr<ServerProcess> server,
               ServerProcess::start(clock, config, place, random.fork()));
  std::unique_ptr<MetricsServer> metrics;
  if (!config.metrics_listen.empty()) {
    GD2FS_ASSIGN(metrics,
                 MetricsServer::start(config.metrics_listen, sources_of(controller, *server)));
    GD2FS_LOG_INFO("metrics on port {}", metrics->port());
  }
  std::printf("ready %s cluster=%s\n", ready_address(controller).c_str(),
              started.cluster.name.c_str());
  std::fflush(stdout);
  const int signal_number = signals.wait();
  GD2FS_LOG_INFO("signal {}: stopping", signal_number);
  metrics.reset();
  const Status server_stopped = server->stop();
  Status controller_stopped = controller.stop();
  GD2FS_TRY(server_stopped);
  return controller_stopped;
}

}  // namespace

void add_up(CLI::App& app, Chosen& chosen) {
  CLI::App* verb =
      app.add_subcommand("up", "Run a controller and a data server here, in the foreground");
  add_setting_flag(*verb, chosen, "--data", "data", "DIR");
  add_setting_flag(*verb, chosen, "--listen", "listen", "HOST:PORT");
  add_setting_flag(*verb, chosen, "--server-listen", "server.listen", "ADDRESSES");
  add_setting_flag(*verb, chosen, "--slab", "slab", "SIZE");
  add_setting_flag(*verb, chosen, "--drive", "drives", "DIR");
  add_setting_flag(*verb, chosen, "--forget-drive", "store.forget_drives", "UUID");
  add_setting_flag(*verb, chosen, "--metrics", "metrics", "HOST:PORT");
  add_setting_flag(*verb, chosen, "--insecure", "insecure", "");
  when_named(verb, chosen, std::make_shared<Nothing>(), up, true);
}

}  // namespace gd2fs::cli
