// SimFabric: the Fabric of one simulated process.
//
//   SimNetwork network(world);
//   SimFabric server(network, "server0", server_loop);
//   SimFabric client(network, "client0", client_loop);
//   auto listener = server.listen("tcp://server0:7528", options, on_session);
//   ... co_await client.connect(to);  // to.address = "tcp://server0:7528"
//
// Addresses are scheme://node:port; any scheme, default port 7527, port 0 picks one. A listener is
// always bound to its own node's name, whatever host was given. Destroying the fabric without
// kill() closes its listeners and resets its sessions, as a process that ends does.
#pragma once

#include "sim/sim_network.h"
#include "sim/sim_session.h"

namespace gd2fs {

class SimFabric final : public Fabric {
 public:
  SimFabric(SimNetwork& network, std::string node, Loop& loop);
  ~SimFabric() override;

  Result<std::unique_ptr<Listener>> listen(const std::string& address, ListenOptions options,
                                           OnSession on_session) override;
  Task<Result<std::unique_ptr<Session>>> connect(ConnectOptions options) override;

  const std::string& node() const { return node_; }

 private:
  SimNetwork& network_;
  std::string node_;
  Loop& loop_;
  uint64_t life_;
};

}  // namespace gd2fs
