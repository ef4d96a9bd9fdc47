// ServerProcess: a data server with all that it stands on: loop and thread, drives, slab, store,
// fabric.
//
// start() and stop() block and belong to main(); everything between lives on the loop.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "cli/config.h"
#include "cli/loop_runner.h"
#include "cli/registered_arenas.h"
#include "fabric/rdma_fabric.h"
#include "server/server.h"
#include "store/store.h"

namespace gd2fs::cli {

struct ServerPlace {
  uint64_t deployment_id = 0;
  std::string secret;                    // the deployment's key
  std::vector<std::string> controllers;  // "tcp://host:port"
  std::vector<std::string> listen;       // "tcp://host:port", "rdma://host:port"
  bool any_port = false;                 // another port will do if a tcp:// one is taken
  std::vector<std::string> drives;       // directories; made if they are not there
};

class ServerProcess {
 public:
  // Answers when the server is serving: its drives are open and a controller has given it a lease.
  static Result<std::unique_ptr<ServerProcess>> start(Clock& clock, const Config& config,
                                                      const ServerPlace& place, Random random);
  ~ServerProcess();  // stop(), if nobody did
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;
  Status stop();

  std::vector<std::string> addresses();
  bool serving();
  std::vector<std::pair<std::string, double>> metrics();

 private:
  ServerProcess(Clock& clock);
  Status open_drives(const Config& config, const ServerPlace& place);
  Task<Status> open(StoreOptions store_options, server::ServerOptions options, Random random);
  Task<Status> wait_until_serving();
  Task<Status> close();
  Task<std::vector<std::string>> ask_addresses();
  Task<bool> ask_serving();
  Task<std::vector<std::pair<std::string, double>>> ask_metrics();

  LoopRunner runner_;
  ThreadWorker resolver_;
  std::vector<StoreDrive> drives_;
  std::unique_ptr<RdmaFabric> fabric_;
  RegisteredArenas* arenas_ = nullptr;  // the store's
  std::unique_ptr<Store> store_;
  std::unique_ptr<server::Server> server_;
  bool stopped_ = false;
};

// The slab if none is configured: a quarter of the memory that this machine, or the container, has.
uint64_t default_slab_bytes();

}  // namespace gd2fs::cli
