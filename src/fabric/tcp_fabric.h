// TcpFabric: the Fabric over TCP, one per loop.
//
//   Loop loop(clock, Loop::Waits::epoll);
//   ThreadWorker worker("resolver");        // host names are looked up there
//   TcpFabric fabric(loop, worker);
//   auto listener = fabric.listen("tcp://0.0.0.0:7528", options, on_session);
//   auto session = co_await fabric.connect(to);  // to.address = "tcp://server1:7528"
//
// Sessions may outlive it. The loop outlives the worker.
#pragma once

#include "fabric/tcp_session.h"
#include "loop/worker.h"

namespace gd2fs {

class TcpFabric final : public Fabric {
 public:
  TcpFabric(Loop& loop, Worker& worker, TcpOptions options = {});

  // A host name is looked up before this returns: meant for start-up.
  Result<std::unique_ptr<Listener>> listen(const std::string& address, ListenOptions options,
                                           OnSession on_session) override;
  Task<Result<std::unique_ptr<Session>>> connect(ConnectOptions options) override;

 private:
  Loop& loop_;
  Worker& worker_;
  const TcpOptions options_;
};

}  // namespace gd2fs
