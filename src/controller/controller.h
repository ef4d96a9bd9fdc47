// Controller: knows names, sizes, layouts and who is alive; answers clients, data servers and
// administrators over a Fabric, on top of a Namespace. Everything on one loop.
//
// Composition, as `gd2fs controller` does it (the parts outlive the controller; sim/cluster.h does
// the same with simulated parts):
//
//   RealClock clock;
//   Loop loop(clock, Loop::Waits::epoll);
//   auto disk = open_disk(loop, data_dir + "/meta", DiskEngine::threads);
//   ThreadWorker worker("meta");
//   auto store = co_await SqliteMetaStore::open(loop, **disk, worker, meta_options);
//   auto fabric = tcp_fabric(loop, ...);
//   ControllerOptions options;
//   options.listen = {"tcp://0.0.0.0:7527"};
//   options.incarnation = random.next() | 1;
//   options.deployment_id = (*store)->deployment_id();
//   options.deployment_secret = secret_key;     // key_from_token(<data>/secret)
//   options.version = GD2FS_VERSION;
//   options.make_secret = secure_random;
//   auto controller = co_await Controller::open(loop, **store, *fabric, options);
//   ... run the loop; (*controller)->create_cluster("gd2fs-cluster0") makes the first cluster ...
//   co_await (*controller)->stop();  // then destroy it, co_await store->close(), destroy the rest
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "controller/capability_keys.h"
#include "controller/clusters.h"
#include "controller/connection.h"
#include "controller/fencing.h"
#include "controller/membership.h"
#include "controller/operations.h"
#include "controller/options.h"
#include "fabric/fabric.h"
#include "loop/task_group.h"
#include "meta/dump.h"
#include "meta/namespace.h"

namespace gd2fs::controller {

struct ControllerCounters {
  uint64_t sessions_total = 0;
  uint64_t requests_total = 0;
  uint64_t errors_total = 0;
  uint64_t busy_total = 0;
  uint64_t malformed_total = 0;
};

// A load of metadata by an administrator (load_op.cc).
struct LoadState {
  std::optional<MetaLoad> load;  // begun, not ended
  bool failed = false;           // for good: the store may not be served
  bool busy = false;             // with a batch
  MutationTag last_tag;          // and its outcome, for a retry
  Status outcome;
};

class Controller {
 public:
  // Opens the namespace, loads servers and keys, listens.
  static Task<Result<std::unique_ptr<Controller>>> open(Loop& loop, MetaStore& store,
                                                        Fabric& fabric, ControllerOptions options);
  ~Controller();
  Controller(const Controller&) = delete;
  Controller& operator=(const Controller&) = delete;

  // Takes no one new, closes every session, waits for what runs.
  Task<void> stop();

  std::vector<std::string> addresses() const;  // as bound
  // A data server is registered and holds a lease: clients can read and write.
  bool serving() const;
  // The cluster, made if it is not there; for `gd2fs up`, which also writes the token to a file.
  Task<Result<Cluster>> create_cluster(std::string name);
  std::vector<std::pair<std::string, double>> metrics() const;

  // --- for connections ---
  void on_request(const std::shared_ptr<Connection>& connection, const Message& message);
  void on_connection_closed(Connection& connection);

  // --- for operations ---
  Loop& loop() { return loop_; }
  const ControllerOptions& options() const { return options_; }
  Namespace& names() { return *names_; }
  Clusters& clusters() { return *clusters_; }
  Membership& membership() { return membership_; }
  Fencing& fencing() { return *fencing_; }
  CapabilityKeys& capability_keys() { return capability_keys_; }
  MetaStore& store() { return store_; }
  LoadState& load() { return load_; }
  // Nobody is served meanwhile.
  bool loading() const { return load_.load.has_value() || load_.failed; }
  Task<Status> load_lines(std::vector<std::string> lines);
  std::string make_token();
  uint64_t started_us() const { return started_us_; }
  // After a change of the clusters or keys: reads them again, tells every server, and waits until
  // each has answered or holds no lease.
  Task<Status> spread_keys();
  std::vector<std::byte> keys_body() const;
  // Sends a request to every connected server, and answers what each said.
  struct ServerAnswer {
    uint32_t server_id = 0;
    Result<CallReply> reply;
  };
  Task<std::vector<ServerAnswer>> ask_servers(msg::Type type, std::vector<std::byte> body);

 private:
  Controller(Loop& loop, MetaStore& store, Fabric& fabric, ControllerOptions options);
  Task<Status> start();
  Status listen();
  void on_session(std::unique_ptr<Session> session);
  void refuse(const std::shared_ptr<Connection>& connection, const Message& message,
              const Status& why);
  Task<void> run(std::shared_ptr<Connection> connection, uint64_t request_id, msg::Type type,
                 Task<Answer> operation);
  Task<Status> open_names();
  void on_tidy(Completion& done);
  Task<void> tidy();
  Task<void> renew_capability_key();

  Loop& loop_;
  MetaStore& store_;
  Fabric& fabric_;
  ControllerOptions options_;
  uint64_t started_us_;
  Membership membership_;
  CapabilityKeys capability_keys_;
  std::unique_ptr<Namespace> names_;
  std::unique_ptr<Clusters> clusters_;
  std::unique_ptr<Fencing> fencing_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::list<std::shared_ptr<Connection>> connections_;
  ControllerCounters counters_;
  LoadState load_;
  size_t requests_ = 0;
  uint64_t clients_expired_us_ = 0;
  bool tidying_ = false;
  bool stopping_ = false;
  Timer tidy_timer_;
  TaskGroup operations_;
  TaskGroup background_;
};

}  // namespace gd2fs::controller
