// For tests: every fabric that the conformance suite runs over.
#pragma once

#include "fabric/conformance_pair.h"
#include "fabric/rdma_fixture.h"
#include "fabric/test_directory.h"
#include "sim/sim_fabric.h"
#include "sim/sim_rdma_fabric.h"

namespace gd2fs {

class SimPair final : public FabricPair {
 public:
  explicit SimPair(uint64_t seed) : world_(seed), network_(world_) {}
  Loop& client_loop() override { return client_loop_; }
  Loop& server_loop() override { return server_loop_; }
  Fabric& client() override { return client_; }
  Fabric& server() override { return server_; }
  std::string listen_address() override { return "tcp://server0:7528"; }
  std::string dead_address() override { return "tcp://server0:9"; }
  bool run_until(const std::function<bool()>& predicate) override {
    return world_.run_until(predicate, 60 * kSecond);
  }
  void run_for_ns(uint64_t ns) override { world_.run_for_ns(ns); }
  SimWorld& world() { return world_; }
  SimNetwork& network() { return network_; }

 private:
  SimWorld world_;
  SimNetwork network_;
  Loop client_loop_{world_.clock(), Loop::Waits::never};
  Loop server_loop_{world_.clock(), Loop::Waits::never};
  SimWorld::Member client_member_{world_, client_loop_};
  SimWorld::Member server_member_{world_, server_loop_};
  SimFabric client_{network_, "client0", client_loop_};
  SimFabric server_{network_, "server0", server_loop_};
};

// The same with NICs, which know all memory.
class SimRdmaPair final : public FabricPair {
 public:
  explicit SimRdmaPair(uint64_t seed) : world_(seed), nics_(world_), network_(world_) {
    FabricMemory all;
    all.length_bytes = UINT64_MAX;
    all.for_peers = true;
    for (SimRdmaFabric* fabric : {&client_, &server_}) EXPECT_TRUE(fabric->add_memory(all).ok());
  }
  Loop& client_loop() override { return client_loop_; }
  Loop& server_loop() override { return server_loop_; }
  Fabric& client() override { return client_; }
  Fabric& server() override { return server_; }
  std::string listen_address() override { return "rdma://server0:7528"; }
  std::string dead_address() override { return "rdma://server0:9"; }
  bool checks_bytes() const override { return false; }
  bool run_until(const std::function<bool()>& predicate) override {
    return world_.run_until(predicate, 60 * kSecond);
  }
  void run_for_ns(uint64_t ns) override { world_.run_for_ns(ns); }
  SimWorld& world() { return world_; }
  SimNics& nics() { return nics_; }
  SimNetwork& network() { return network_; }
  void stop_server() { server_member_.reset(); }
  void let_server_go_on() { server_member_.emplace(world_, server_loop_); }
  void kill_client() {
    network_.kill("client0");
    client_.kill();
  }

 private:
  SimWorld world_;
  SimNics nics_;
  SimNetwork network_;
  Loop client_loop_{world_.clock(), Loop::Waits::never};
  Loop server_loop_{world_.clock(), Loop::Waits::never};
  SimWorld::Member client_member_{world_, client_loop_};
  std::optional<SimWorld::Member> server_member_{std::in_place, world_, server_loop_};
  SimFabric client_network_{network_, "client0", client_loop_};
  SimFabric server_network_{network_, "server0", server_loop_};
  SimRdmaFabric client_{client_network_, client_loop_, nics_, 1};
  SimRdmaFabric server_{server_network_, server_loop_, nics_, 0};
};

// Over the loopback device.
class TcpPair final : public OneLoopPair {
 public:
  explicit TcpPair(std::string host, TcpOptions options = {})
      : host_(std::move(host)), fabric_(loop_, worker_, std::move(options)) {}
  Fabric& server() override { return fabric_; }
  std::string listen_address() override { return "tcp://" + host_ + ":0"; }
  std::string dead_address() override { return "tcp://" + host_ + ":1"; }

 private:
  std::string host_;
  TcpFabric fabric_;
};

// The same through shared memory.
class ShmPair final : public OneLoopPair {
 public:
  ShmPair() : fabric_(loop_, worker_) {}
  Fabric& server() override { return fabric_; }
  std::string listen_address() override { return "tcp://127.0.0.1:0"; }
  std::string dead_address() override { return "tcp://127.0.0.1:1"; }
  std::string same_host_directory() override { return directory_.path() + "/door"; }

 private:
  TestDirectory directory_;
  ShmFabric fabric_;
};

struct MakePair {
  const char* name;
  std::unique_ptr<FabricPair> (*make)(uint64_t seed);
};

template <const char* Host>
std::unique_ptr<FabricPair> make_tcp_pair(uint64_t) {
  return std::make_unique<TcpPair>(Host);
}
// Every stripe goes by way of threads.
inline std::unique_ptr<FabricPair> make_pumped_pair(uint64_t) {
  TcpOptions options;
  options.pumps = std::make_shared<LanePumps>(2);
  options.pumps_from_bytes = 1;
  return std::make_unique<TcpPair>("127.0.0.1", std::move(options));
}
inline constexpr char kIpv4Loopback[] = "127.0.0.1";
inline constexpr char kIpv6Loopback[] = "[::1]";

inline std::vector<MakePair> all_pairs() {
  std::vector<MakePair> pairs = {
      {"sim",
       [](uint64_t seed) -> std::unique_ptr<FabricPair> {
         return std::make_unique<SimPair>(seed);
       }},
      {"sim_rdma",
       [](uint64_t seed) -> std::unique_ptr<FabricPair> {
         return std::make_unique<SimRdmaPair>(seed);
       }},
      {"tcp", make_tcp_pair<kIpv4Loopback>},
      {"tcp_with_threads_for_its_lanes", make_pumped_pair},
      {"shm", [](uint64_t) -> std::unique_ptr<FabricPair> { return std::make_unique<ShmPair>(); }},
      {"rdma",
       [](uint64_t) -> std::unique_ptr<FabricPair> {
         return std::make_unique<RdmaPair>(RdmaPair::Memory::everything);
       }},
      {"rdma_over_infiniband",
       [](uint64_t) -> std::unique_ptr<FabricPair> {
         return std::make_unique<RdmaPair>(RdmaPair::Memory::everything, true);
       }},
      {"rdma_without_registered_memory", [](uint64_t) -> std::unique_ptr<FabricPair> {
         return std::make_unique<RdmaPair>(RdmaPair::Memory::none);
       }}};
  // Some containers have no IPv6 at all.
  const auto v6 = resolve({"::1", 0}, Resolve::numeric_only);
  if (v6.has_value() && TcpSocket::listen(v6->front()).has_value()) {
    pairs.push_back({"tcp_over_ipv6", make_tcp_pair<kIpv6Loopback>});
  }
  return pairs;
}

}  // namespace gd2fs
