// Process: what every simulated process has: a loop in the world, a place in the network, and a NIC
// if it was given one.
// It can be stopped (SIGSTOP: its loop leaves the world, the clock goes on) and continued. To kill
// it, destroy it right after SimNetwork::kill() and what befalls its drives.
#pragma once

#include <optional>
#include <string>

#include "loop/worker.h"
#include "sim/sim_fabric.h"
#include "sim/sim_rdma_fabric.h"
#include "sim/sim_world.h"

namespace gd2fs::sim {

class Process {
 public:
  // nics nullptr: it has none.
  Process(SimWorld& world, SimNetwork& network, const std::string& node, SimNics* nics = nullptr,
          int device = 0)
      : loop(world.clock(), Loop::Waits::never), fabric(network, node, loop), world_(world) {
    member_.emplace(world, loop);
    if (nics != nullptr) rdma.emplace(fabric, loop, *nics, device);
  }
  // What its code is given.
  Fabric& door() {
    if (rdma.has_value()) return *rdma;
    return fabric;
  }
  void stop() { member_.reset(); }
  void go_on() {
    if (!member_.has_value()) member_.emplace(world_, loop);
  }
  bool stopped() const { return !member_.has_value(); }

  Loop loop;
  SimFabric fabric;
  std::optional<SimRdmaFabric> rdma;

 private:
  SimWorld& world_;
  std::optional<SimWorld::Member> member_;
};

}  // namespace gd2fs::sim
