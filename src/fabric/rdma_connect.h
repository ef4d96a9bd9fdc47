// RdmaConnect: TcpConnect, whose session goes on over RDMA, on the NIC that the connection leaves
// by. One coroutine, one deadline.
#pragma once

#include "fabric/rdma_handshake.h"
#include "fabric/tcp_connect.h"

namespace gd2fs {

class RdmaConnect final : public TcpConnect {
 public:
  RdmaConnect(Loop& loop, Worker& worker, const TcpOptions& tcp, ConnectOptions options,
              std::string boot_id, RdmaPorts& ports);

 private:
  Task<Status> begin_session(TcpGreeting* greeting, Peer peer, Greeted* greeted) override;

  RdmaPorts& ports_;
};

}  // namespace gd2fs
