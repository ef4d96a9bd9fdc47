// ControllerProcess: a controller with all that it stands on: loop and thread, MetaStore on the
// data directory, TCP fabric.
//
// start() and stop() block and belong to main(); everything between lives on the loop.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "cli/config.h"
#include "cli/data_dir.h"
#include "cli/loop_runner.h"
#include "controller/controller.h"
#include "disk/disk.h"
#include "fabric/tcp_fabric.h"
#include "meta/sqlite_engine.h"

namespace gd2fs::cli {

class ControllerProcess {
 public:
  // `secret` is the deployment's key. Listening when it answers.
  static Result<std::unique_ptr<ControllerProcess>> start(Clock& clock, const Config& config,
                                                          const DataDir& data,
                                                          const std::string& secret, Random random);
  ~ControllerProcess();  // stop(), if nobody did
  ControllerProcess(const ControllerProcess&) = delete;
  ControllerProcess& operator=(const ControllerProcess&) = delete;
  Status stop();

  const std::string& address() const { return address_; }  // "tcp://127.0.0.1:7527"
  // The cluster, made if it is not there.
  Result<Cluster> create_cluster(const std::string& name);
  bool serving();  // a data server holds a lease
  std::vector<std::pair<std::string, double>> metrics();

 private:
  ControllerProcess(Clock& clock);
  Status open_disk(const DataDir& data);
  Task<Status> open(SqliteMetaOptions meta, controller::ControllerOptions options);
  Task<Status> close();
  Task<bool> ask_serving();
  Task<std::vector<std::pair<std::string, double>>> ask_metrics();

  LoopRunner runner_;
  ThreadWorker meta_worker_;
  ThreadWorker resolver_;
  std::unique_ptr<Disk> disk_;
  std::unique_ptr<TcpFabric> fabric_;
  std::unique_ptr<SqliteMetaStore> store_;
  std::unique_ptr<controller::Controller> controller_;
  std::string address_;
  bool stopped_ = false;
};

// A controller on its data directory, with the cluster that the command line names, whose token
// lies where clients look for it: what `gd2fs controller` and `gd2fs up` begin with.
struct StartedController {
  DataDir data;
  std::string secret;  // the deployment's
  std::unique_ptr<ControllerProcess> process;
  Cluster cluster;
};
Result<StartedController> start_controller(Clock& clock, const Config& config, Random& random);
// What its address is on the ready line: "gd2fs://127.0.0.1:7527".
std::string ready_address(const ControllerProcess& controller);

}  // namespace gd2fs::cli
