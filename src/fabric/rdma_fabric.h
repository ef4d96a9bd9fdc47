// RdmaFabric: RDMA beside TCP and shared memory; what programs use. One per loop.
//
//   "rdma://ip:port"   to listen: TCP connections for the handshake there, then queue pairs on the
//                      NIC that has the address a client came in by; to connect: likewise
//   "tcp://..."        as ShmFabric does it
//
// A machine without libibverbs or NICs is not touched until somebody names an rdma:// address; then
// that address is `unsupported`, or `not_found`, and says why. Sessions must not outlive the
// fabric; the loop outlives the worker.
#pragma once

#include "fabric/rdma_handshake.h"
#include "fabric/shm_fabric.h"

namespace gd2fs {

inline constexpr std::string_view kRdmaScheme = "rdma://";

class RdmaFabric final : public Fabric {
 public:
  RdmaFabric(Loop& loop, Worker& worker, const TcpOptions& options = {}, uint32_t copy_threads = 0);
  ~RdmaFabric() override;

  // Opens a NIC before it is needed, so that memory is registered with it by who adds it, and not
  // all of it at the first connection. Empty: there are any at all. Blocks.
  Status open_nic(const std::string& host);
  bool has_nics() const { return ports_.any(); }
  // Whether some NIC of ours reaches all of that memory. Any thread; short.
  bool nics_reach(const MemorySegment& memory) const {
    return memory_.known_to_any(memory.data, memory.length_bytes, memory.region);
  }
  // A connection was lost while NICs moved bytes of that GPU memory: whether they reach it is tried
  // again, on a thread. On the loop.
  void doubt_reach(const MemorySegment& memory) { ports_.doubt_reach(memory.data, memory.region); }

  Status add_memory(const FabricMemory& memory) override { return memory_.add(memory); }
  void remove_memory(const FabricMemory& memory) override { memory_.remove(memory); }
  Result<std::unique_ptr<Listener>> listen(const std::string& address, ListenOptions options,
                                           OnSession on_session) override;
  Task<Result<std::unique_ptr<Session>>> connect(ConnectOptions options) override;

  RdmaCounters counters() const { return ports_.counters(); }
  std::vector<RdmaNicFacts> nics() { return ports_.facts(); }

 private:
  Loop& loop_;
  Worker& worker_;
  const TcpOptions options_;
  ShmFabric shm_;
  RdmaMemory memory_;
  RdmaPorts ports_;
};

}  // namespace gd2fs
