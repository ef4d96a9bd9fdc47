// SimRdmaFabric: RDMA beside the simulated network, for one process of a world with NICs:
//
//   "rdma://node:port"   queue pairs between the fake NICs (SimNics) of two processes, by the real
//                        sessions of src/fabric. The simulated network carries the handshake, and
//                        the session it went over is the lifeline: its end is theirs.
//   others               as SimFabric does it
//
// The process has one NIC, opened before anything is registered with it. Sessions must not outlive
// the fabric. One thread.
#pragma once

#include "fabric/rdma_handshake.h"
#include "loop/task_group.h"
#include "sim/sim_fabric.h"
#include "sim/sim_nics.h"
#include "sim/sim_rdma_session.h"

namespace gd2fs {

class SimRdmaFabric final : public Fabric {
 public:
  SimRdmaFabric(SimFabric& network, Loop& loop, SimNics& nics, int device);
  ~SimRdmaFabric() override;

  Status add_memory(const FabricMemory& memory) override { return memory_.add(memory); }
  void remove_memory(const FabricMemory& memory) override { memory_.remove(memory); }
  Result<std::unique_ptr<Listener>> listen(const std::string& address, ListenOptions options,
                                           OnSession on_session) override;
  Task<Result<std::unique_ptr<Session>>> connect(ConnectOptions options) override;

  // SIGKILL, after SimNetwork::kill(): its queue pairs are gone, its sessions say nothing more.
  void kill();
  int device() const { return device_; }
  RdmaCounters counters() const { return port_->counters(); }

 private:
  friend class SimRdmaListener;
  class Greeting;
  class Lifeline;

  Task<Status> join_client(Greeting* greeting, SessionEvents* events, uint64_t deadline_ns,
                           std::unique_ptr<SimRdmaSession>* out);
  Task<Status> join_server(Greeting* greeting, std::unique_ptr<SimRdmaSession>* out);
  std::unique_ptr<SimRdmaSession> keep(std::unique_ptr<RdmaSession> session);

  SimFabric& network_;
  Loop& loop_;
  SimNics& nics_;
  const int device_;
  const TcpOptions options_;
  InlineWorker worker_;
  std::shared_ptr<uint32_t> closing_ = std::make_shared<uint32_t>(0);
  RdmaMemory memory_;
  std::shared_ptr<RdmaPort> port_;
  RdmaShared shared_;
  List<SimRdmaSession> sessions_;  // those that are open
};

}  // namespace gd2fs
