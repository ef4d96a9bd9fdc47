// RdmaListener: takes clients over TCP and gives each that has proved itself an RDMA session on the
// NIC that its connection came in by. Greeting, tokens and limits are TcpListener's. One loop.
#pragma once

#include "fabric/rdma_handshake.h"
#include "fabric/tcp_listener.h"

namespace gd2fs {

class RdmaListener final : public TcpListener {
 public:
  RdmaListener(Loop& loop, const TcpOptions& tcp, TcpSocket socket, std::string address,
               ListenOptions options, OnSession on_session, RdmaPorts& ports);

 private:
  std::vector<std::string> keys_for(const HelloFacts& hello) const override;
  Task<Result<std::unique_ptr<TcpSession>>> make_session(TcpGreeting* greeting, Peer peer,
                                                         uint64_t number,
                                                         const ServerHandshake* handshake) override;

  RdmaPorts& ports_;
};

}  // namespace gd2fs
