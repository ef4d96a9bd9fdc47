// Application: one simulated client process: the real client, and a few callers, each of which asks
// for one thing after another and writes down what it is told. One thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sim/cluster/cluster.h"
#include "sim/seeds/history.h"
#include "sim/seeds/watched_buffers.h"
#include "sim/seeds/workload.h"

namespace gd2fs::sim {

class Application {
 public:
  // Everything outlives it. `index`: whose place it has among the applications, and whose NIC.
  Application(Cluster& cluster, History& history, uint32_t number, size_t index,
              client::ClientOptions options);
  ~Application();  // as kill()
  Application(const Application&) = delete;
  Application& operator=(const Application&) = delete;

  // Connects, however long that takes; then so many callers take requests from the workload while
  // *left > 0, which each of them lowers.
  void begin(Workload& workload, size_t callers, uint64_t* left);
  // Connected, and all callers have ended.
  bool idle() const;
  bool connected() const { return connected_; }
  // SIGKILL: open requests never get an answer.
  void kill();
  // Tells the history of bytes that came late.
  void look_at_memory();
  uint64_t refused_buffers() const { return buffers_ == nullptr ? 0 : buffers_->refused(); }
  // One request, for which the world runs; false if it has not ended within the limit.
  const Record* run(Record asked, uint64_t limit_ns);

  Client& process() { return client_; }
  const std::string& node() const { return client_.node(); }

 private:
  struct Caller;
  void connect();
  void on_connected(Completion& done);

  Cluster& cluster_;
  History& history_;
  const uint32_t number_;
  Client client_;
  std::unique_ptr<WatchedBuffers> buffers_;  // in a world with NICs
  Completion connect_done_;
  bool connected_ = false;
  bool dead_ = false;
  Workload* workload_ = nullptr;
  uint64_t* left_ = nullptr;
  size_t callers_wanted_ = 0;
  std::vector<std::unique_ptr<Caller>> callers_;
};

}  // namespace gd2fs::sim
