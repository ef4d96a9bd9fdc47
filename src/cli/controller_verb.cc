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
  GD2FS_ASSIGN(const StartedController started, start_controller(clock, config, random));
  ControllerProcess& controller = *started.process;
  std::unique_ptr<MetricsServer> metrics;
  if (!config.metrics_listen.empty()) {
    GD2FS_ASSIGN(metrics, MetricsServer::start(config.metrics_listen,
                                               {.values = [&] { return controller.metrics(); },
                                                .ready = [&] { return controller.serving(); }}));
  }
  std::printf("ready %s cluster=%s\n", ready_address(controller).c_str(),
              started.cluster.name.c_str());
  std::fflush(stdout);
  const int signal_number = signals.wait();
  GD2FS_LOG_INFO("signal {}: stopping", signal_number);
  metrics.reset();
  return controller.stop();
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
