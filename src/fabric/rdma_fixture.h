// For tests: RDMA over the fake NICs, both processes on one loop.
#pragma once

#include "fabric/conformance_pair.h"
#include "fabric/rdma_fabric.h"
#include "verbs/test_verbs.h"

namespace gd2fs {

class RdmaPair final : public OneLoopPair {
 public:
  // everything: all of the process's memory is registered, as with on-demand paging; else none is.
  enum class Memory { none, everything };
  explicit RdmaPair(Memory memory, bool infiniband = false)
      : everything_(memory == Memory::everything) {
    verbs::TestVerbs::instance().reset();
    if (infiniband) verbs::TestVerbs::instance().set_infiniband(0, 1);
    if (!everything_) return;
    const Status added = fabric_.add_memory(all());
    EXPECT_TRUE(added.ok()) << added.to_string();
  }
  Fabric& server() override { return fabric_; }
  std::string listen_address() override { return "rdma://127.0.0.1:0"; }
  std::string dead_address() override { return "rdma://127.0.0.1:1"; }
  bool checks_bytes() const override { return !everything_; }
  RdmaFabric& fabric() { return fabric_; }

 private:
  static FabricMemory all() {
    FabricMemory memory;
    memory.length_bytes = UINT64_MAX;
    memory.for_peers = true;
    return memory;
  }
  const bool everything_;
  RdmaFabric fabric_{loop_, worker_};
};

}  // namespace gd2fs
