// RdmaHandshake: what both sides of an RDMA session need, and how they tell each other where their
// queue pairs are, over the TCP connection that has proved who they are.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "fabric/rdma_session.h"
#include "wire/message.h"

namespace gd2fs {

// One local NIC as its metrics tell.
struct RdmaNicFacts {
  std::string address;
  std::string name;        // "mlx5_0 port 1"
  bool up = false;         // when it was last asked
  size_t queue_pairs = 0;  // one per session
  RdmaCounters counters;
};

// The ports of a fabric's loop, by local address; made when first asked for, and once more after a
// device was gone. One that is gone stays until then, for what is reported of it.
class RdmaPorts {
 public:
  RdmaPorts(Loop& loop, RdmaMemory& memory) : loop_(loop), memory_(memory) {}
  // Opens the NIC that has this address and registers all memory with it, on the worker.
  Task<Result<RdmaShared>> find(std::string address);
  // The same, and waits for it: for start-up.
  Status open_now(const std::string& address);
  bool any() const { return !ports_.empty(); }
  // By address. Has the devices asked how their ports are, for the next time.
  std::vector<RdmaNicFacts> facts();
  RdmaCounters counters() const;  // of all
  // For the end: waits for what the worker has.
  void end_worker() { worker_.reset(); }
  uint32_t closing() const { return *closing_; }
  // As RdmaFabric's; one at a time, and what comes meanwhile is dropped: it will come again.
  void doubt_reach(const void* address, uint32_t region);
  // A thread of its own: what is done there takes milliseconds, or minutes for memory.
  Worker& worker();

 private:
  struct Opened {
    std::weak_ptr<RdmaPort> port;
    std::shared_ptr<const verbs::Nic> nic;  // that memory is registered with
  };
  // Opens the device unless it has been opened since `gone` was, and registers all memory with it.
  Result<std::shared_ptr<RdmaPort>> open(const std::string& address,
                                         const std::shared_ptr<const verbs::Nic>& gone);
  Result<std::shared_ptr<RdmaPort>> keep(const std::string& address,
                                         Result<std::shared_ptr<RdmaPort>> opened);

  Loop& loop_;
  RdmaMemory& memory_;
  std::shared_ptr<bool> doubting_ = std::make_shared<bool>(false);
  std::shared_ptr<uint32_t> closing_ = std::make_shared<uint32_t>(0);
  std::unordered_map<std::string, std::shared_ptr<RdmaPort>> ports_;
  std::mutex opening_;
  std::unordered_map<std::string, Opened> opened_;
  std::unique_ptr<ThreadWorker> worker_;  // last: its jobs use the rest
};

// A queue pair that can receive, made on the worker.
Task<Result<std::unique_ptr<RdmaQueue>>> make_rdma_queue(Loop* loop, RdmaShared shared);

// Waits until packets have passed over a queue pair that has just joined its peer: that the
// handshake came through, perhaps by another network, says nothing about those of the NICs.
Task<Status> prove_rdma_queue(Loop* loop, RdmaQueue* queue, uint64_t deadline_ns);
// Ends one that no session has taken, on the worker.
Task<void> end_rdma_queue(Loop* loop, RdmaShared shared, std::unique_ptr<RdmaQueue> queue);

// Where a queue pair is, as a message and back. invalid: a peer that nobody can speak to.
std::vector<std::byte> pack_queue_pair(const RdmaQueue& queue);
Result<RdmaPeer> open_queue_pair(ConstBytes body);

// "tcp://x" -> "rdma://x", for messages.
std::string rdma_name(std::string_view tcp_address);
// The local address of a connected socket as Nic::open() takes it.
Result<std::string> local_host_of(int fd);

}  // namespace gd2fs
