// `gd2fs controller`: a controller alone, in the foreground.
#include <cstdio>

#include "base/log.h"
#include "cli/command.h"
#include "cli/controller_process.h"
#include "cli/daemon.h"
#include "cli/listen_address.h"
#include "cli/metrics_server.h"

namespace gd2fs::cli {
namespace {

struct Nothing {};

Status run(const Invocation& invocation, const Nothing&) {
  const Config& config = invocation.config;
  StopSignals signals;
  raise_file_limit();
  warn_if_insecure(config);
  RealClock clock;
  Random random(Random::seed_from_kernel());
  GD2FS_ASSIGN(const DataDir data, DataDir::open(config.data, random.next() | 1));
  GD2FS_ASSIGN(const std::string secret, deployment_key(config, data));
  GD2FS_ASSIGN(const std::unique_ptr<ControllerProcess> controller,
               ControllerProcess::start(clock, config, data, secret, random.fork()));
  GD2FS_ASSIGN(const Cluster cluster, controller->create_cluster(config.cluster));
  GD2FS_TRY(leave_token(data, cluster.name, cluster.token));
  std::unique_ptr<MetricsServer> metrics;
  if (!config.metrics_listen.empty()) {
    GD2FS_ASSIGN(metrics, MetricsServer::start(config.metrics_listen,
                                               {.values = [&] { return controller->metrics(); },
                                                .ready = [&] { return controller->serving(); }}));
  }
  const std::string address = reachable_address(controller->address());
  std::printf("ready gd2fs%s cluster=%s\n", address.substr(std::string("tcp").size()).c_str(),
              cluster.name.c_str());
  std::fflush(stdout);
  const int signal_number = signals.wait();
  GD2FS_LOG_INFO("signal {}: stopping", signal_number);
  metrics.reset();
  return controller->stop();
}

}  // namespace

void add_controller(CLI::App& app, Chosen& chosen) {
  CLI::App* verb = app.add_subcommand("controller", "Run a controller here, in the foreground");
  add_setting_flag(*verb, chosen, "--data", "data", "DIR");
  add_setting_flag(*verb, chosen, "--listen", "listen", "HOST:PORT");
  add_setting_flag(*verb, chosen, "--metrics", "metrics", "HOST:PORT");
  add_setting_flag(*verb, chosen, "--insecure", "insecure", "");
  when_named(verb, chosen, std::make_shared<Nothing>(), run, true);
}

}  // namespace gd2fs::cli
