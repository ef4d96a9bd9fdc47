// SeedRun: one seed of the simulation of a whole deployment: a controller, a data server, three
// applications that work on the same few files, and troubles. When these have ended everybody must
// get on; then everything is read, started anew after a lost power, and read again; then the
// history of all answers must make sense: see check_names.h, check_sizes.h, check_bytes.h.
//
// run() answers an empty string, or what went wrong. All choices come from the seed.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sim/seeds/application.h"
#include "sim/seeds/troubles.h"

namespace gd2fs::sim {

// What a seed draws before it begins.
struct SeedProfile {
  WorkloadProfile workload;
  TroubleProfile troubles;
  size_t data_drives = 1;
  size_t callers = 1;       // of each application
  uint64_t requests = 100;  // of all
  uint64_t timeout_ns = 4 * kSecond;
  uint64_t capability_ttl_ns = 300 * kSecond;
  uint64_t quota_bytes = 0;  // of the cluster, while there are troubles; 0: none
  bool nics = false;         // applications reach the server by RDMA if they can
  bool nics_only = false;    // ... or not at all

  static SeedProfile draw(Random& random);
  // Makes it one of a world with NICs.
  void draw_nics(Random& random);
  std::string to_string() const;
};

// How applications reach the server: over the simulated network, or by NICs beside it.
enum class SeedWorld : uint8_t { network, nics };

// A rule that is taken out, to show that some seed notices.
struct SeedMutation {
  std::function<void(ClusterOptions&)> options;  // before the start
  std::function<void(Cluster&)> cluster;         // after it was made
  // Not the mutation itself: makes likely what would show it.
  std::function<void(SeedProfile&)> profile;
};

class SeedRun final : public Troubles::Applications {
 public:
  static constexpr size_t kApplications = 3;

  explicit SeedRun(uint64_t seed, const SeedMutation& mutation = {},
                   SeedWorld world = SeedWorld::network);
  ~SeedRun() override;
  std::string run();

  // What the seed drew, for the message.
  std::string profile() const { return profile_.to_string(); }
  uint64_t trace_hash() const { return history_->trace_hash(); }
  const History& history() const { return *history_; }
  // By RDMA, of all processes.
  SimNicBytes moved_by_nics() const {
    return cluster_->nics() == nullptr ? SimNicBytes() : cluster_->nics()->moved();
  }
  // In a world with NICs: what the sessions of all processes have counted, memory that was refused,
  // and work requests whose keys opened nothing.
  RdmaCounters rdma_counters() const;
  uint64_t refused_buffers() const;
  uint64_t refused_keys() const { return cluster_->nics()->refused_keys(); }
  uint64_t simulated_ns() { return cluster_->world().clock().now_ns(); }

 private:
  size_t count() const override { return applications_.size(); }
  Process* process(size_t index) override;
  std::string node(size_t index) const override;
  void kill_and_restart(size_t index) override;

  client::ClientOptions client_options() const;
  void begin_application(size_t index);
  void live();
  void recover();
  void check_quota();
  void check_progress();
  struct Seen;
  Seen read_all(Application& reader);
  void check_restart();
  void check_drives();
  void check_answers();
  void judge();
  void fail(const std::string& what);

  Random random_;
  SeedProfile profile_;
  ClusterOptions options_;
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<History> history_;
  std::unique_ptr<Workload> workload_;
  std::unique_ptr<Troubles> troubles_;
  std::vector<std::unique_ptr<Application>> applications_;
  std::string secret_;
  uint32_t next_number_ = 0;
  uint64_t requests_left_ = 0;
  uint64_t refused_buffers_before_ = 0;  // of applications that were killed
  std::string error_;
};

}  // namespace gd2fs::sim
