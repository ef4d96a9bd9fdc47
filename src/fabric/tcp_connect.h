// TcpConnect: the way from an address to a session, one coroutine: look up the name, try each of
// its addresses, prove ourselves, then open the further lanes. One deadline for all of it.
#pragma once

#include "fabric/tcp_greeting.h"
#include "fabric/tcp_session.h"
#include "loop/worker.h"

namespace gd2fs {

class TcpConnect {
 public:
  TcpConnect(Loop& loop, Worker& worker, const TcpOptions& tcp, ConnectOptions options);
  Task<Result<std::unique_ptr<Session>>> run();

 private:
  Task<Result<std::vector<SocketAddress>>> look_up(TcpAddress address);
  Task<Result<TcpSocket>> reach(SocketAddress to, uint64_t deadline_ns);
  // Says hello for one lane; the greeting's connection is then part of the session.
  Task<Status> greet(TcpGreeting* greeting, HelloFacts hello, std::string key);
  Task<Status> open_first_lane(SocketAddress to);
  Task<Status> open_lane(uint16_t lane);
  HelloFacts hello_facts() const;
  Status bind_address(const SocketAddress& to, SocketAddress* from, bool* bound) const;
  void on_deadline(Completion&);

  Loop& loop_;
  Worker& worker_;
  const TcpOptions tcp_;
  ConnectOptions options_;
  uint64_t deadline_ns_ = 0;
  uint32_t lanes_ = 1;
  SocketAddress server_;  // the one that answered
  std::unique_ptr<TcpSession> session_;
  // Of the last greeting.
  ChallengeFacts challenge_;
  std::string session_key_;
  uint64_t session_number_ = 0;
  uint32_t eager_max_bytes_ = 0;
};

}  // namespace gd2fs
