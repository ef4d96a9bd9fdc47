// Cluster: a whole GD2FS deployment in one simulated world: one controller on SQLite, one data
// server on its drives, the real code of both, on simulated disks and network. Each can be killed,
// lose its power, be stopped and continued, and started again on what its drives have kept.
//
//   Cluster cluster(seed);
//   ASSERT_TRUE(cluster.start());             // both up, the cluster "c0" made, serving
//   sim::Client& client = cluster.add_client();
//   ... client.write("/a", 0, bytes) ...
//   cluster.crash_server(Crash::power);
//   cluster.start_server();                   // opens in its own time
//   ASSERT_TRUE(cluster.wait_serving());
//
// Nodes of the network: "controller", "server", and the clients' names. Everything random comes
// from the seed. One thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "controller/controller.h"
#include "loop/task_group.h"
#include "meta/sqlite_engine.h"
#include "server/server.h"
#include "sim/cluster/client.h"
#include "sim/cluster/process.h"
#include "sim/sim_disk.h"
#include "sim/sim_drive.h"
#include "store/store.h"

namespace gd2fs::sim {

enum class Crash : uint8_t {
  kill,   // SIGKILL: what was written stays visible
  power,  // what was not synced is kept, dropped or torn
};

struct ClusterOptions {
  SimDriveOptions meta_drive;
  SimDriveOptions data_drive;
  size_t data_drives = 1;
  bool nics = false;  // the server has one, and clients reach it by RDMA if they can
  StoreOptions store = small_store();
  server::ServerOptions server = small_server();  // controllers: beside the deployment's own
  controller::ControllerOptions controller;
  uint8_t chunk_log2 = kChunkLog2Default;  // of kName's files
  uint64_t quota_bytes = 0;                // of kName; 0: none
  // Mutations, to show that a checker notices: what the server and the controller get instead of
  // the store that they would have used. May hold a reference to the real one, which outlives it.
  std::function<std::unique_ptr<Store>(Loop&, Store&)> mutate_store;
  std::function<std::unique_ptr<MetaStore>(MetaStore&)> mutate_meta;

  static StoreOptions small_store();
  static server::ServerOptions small_server();
};

class Cluster {
 public:
  static constexpr uint64_t kDeployment = 0xDE910;
  static constexpr const char* kName = "c0";
  static constexpr const char* kControllerAddress = "tcp://controller:7527";
  static constexpr const char* kServerAddress = "tcp://server:7528";
  static constexpr const char* kServerRdmaAddress = "rdma://server:7529";
  // Which NIC of SimNics is whose.
  static constexpr int kServerDevice = 0;
  static constexpr int kFirstClientDevice = 1;

  explicit Cluster(uint64_t seed, ClusterOptions options = {});
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  SimWorld& world() { return world_; }
  SimNetwork& network() { return network_; }
  SimNics* nics() { return nics_.get(); }  // null: there are none
  SimDrive& meta_drive() { return meta_drive_; }
  SimDrive& data_drive(size_t index = 0) { return *data_drives_[index]; }
  ClusterOptions& options() { return options_; }  // for the next start

  // Both processes, the cluster kName, until it serves. False, with failure(), if it cannot.
  bool start();
  bool wait_serving(uint64_t limit_ns = 120 * kSecond);
  bool serving();
  // Why a process could not start; ok if none failed.
  const Status& failure() const { return failure_; }

  // --- processes; a start returns at once ---
  void start_controller();
  void start_server();
  void crash_controller(Crash crash);
  void crash_server(Crash crash);
  // SIGTERM: waits until it has ended.
  void end_controller();
  void end_server();
  // A drive that its process uses has lost its power by itself (crash_after_changes()), or the
  // process could not start for a drive that hangs: it is as good as dead, and wants crash_*().
  bool controller_lost() const;
  bool server_lost() const;
  bool controller_runs() const { return controller_ != nullptr; }
  bool server_runs() const { return server_ != nullptr; }
  Process* controller_process();  // null if it does not run
  Process* server_process();
  // Now, and at every start from now on. Only while the controller runs.
  Status set_quota(uint64_t quota_bytes);
  ClusterUsage usage();  // of kName

  // Null until opened.
  controller::Controller* controller();
  server::Server* server();
  Store* store();
  MetaStore* meta();

  // The deployment's own, of servers and administrators.
  const std::string& secret() const { return secret_; }
  // The secret of kName's token.
  std::string token_secret();
  // Of a client of kName; nics: it goes by them if it can.
  static client::ClientOptions client_options(const std::string& secret, uint64_t timeout_ns,
                                              bool nics = false);
  // A client process of kName.
  Client& add_client(uint64_t timeout_ns = 30 * kSecond);
  std::vector<std::unique_ptr<Client>>& clients() { return clients_; }

 private:
  struct ControllerProcess;
  struct ServerProcess;
  void fail_controller(const Status& why);
  void fail_server(const Status& why);

  ClusterOptions options_;
  SimWorld world_;
  SimNetwork network_;
  std::unique_ptr<SimNics> nics_;
  SimDrive meta_drive_;
  std::vector<std::unique_ptr<SimDrive>> data_drives_;
  std::unique_ptr<ControllerProcess> controller_;
  std::unique_ptr<ServerProcess> server_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::string secret_ = std::string(32, 's');
  Status failure_;
  bool server_gave_up_ = false;
};

}  // namespace gd2fs::sim
