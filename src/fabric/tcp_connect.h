// TcpConnect: the way from an address to a session, one coroutine: look up the name, try each of
// its addresses, prove ourselves, then open the further lanes. One deadline for all of it.
#pragma once

#include "fabric/tcp_greeting.h"
#include "fabric/tcp_session.h"
#include "loop/worker.h"

namespace gd2fs {

// What a greeting has brought.
struct Greeted {
  ChallengeFacts server;
  std::string session_key;
  uint64_t session_number = 0;
  uint32_t eager_max_bytes = 0;
  std::string same_host_directory;  // then there is no session
};
// Says hello for one lane and proves that we hold the key; the greeting's connection is then part
// of the session.
Task<Status> greet_server(TcpGreeting* greeting, HelloFacts hello, std::string key, bool insecure,
                          Greeted* out);

// Ends a greeting at a deadline.
class GreetingDeadline {
 public:
  GreetingDeadline(Loop& loop, TcpGreeting& greeting, uint64_t deadline_ns) : greeting_(greeting) {
    timer_.bind<&GreetingDeadline::on_fired>(this);
    loop.start_at(timer_, deadline_ns);
  }

 private:
  void on_fired(Completion&) {
    greeting_.abort(Status(StatusCode::timed_out, "connect: no answer in time"));
  }
  TcpGreeting& greeting_;
  Timer timer_;
};

class TcpConnect {
 public:
  // boot_id: of this host, if shared memory would be liked; else empty.
  TcpConnect(Loop& loop, Worker& worker, const TcpOptions& tcp, ConnectOptions options,
             std::string boot_id = {});
  virtual ~TcpConnect() = default;
  // Null, and no error, if the server would rather be spoken to through same_host_directory().
  Task<Result<std::unique_ptr<Session>>> run();
  const std::string& same_host_directory() const { return same_host_directory_; }
  uint64_t deadline_ns() const { return deadline_ns_; }

 protected:
  // Makes session_ of a greeting whose server has let us in, with its first lane.
  virtual Task<Status> begin_session(TcpGreeting* greeting, Peer peer, Greeted* greeted);

  Loop& loop_;
  Worker& worker_;
  const TcpOptions tcp_;
  ConnectOptions options_;
  std::unique_ptr<TcpSession> session_;

 private:
  Task<Result<std::vector<SocketAddress>>> look_up(TcpAddress address);
  Task<Result<TcpSocket>> reach(SocketAddress to, uint64_t deadline_ns);
  Task<Status> open_first_lane(SocketAddress to);
  Task<Status> open_lane(uint16_t lane);
  HelloFacts hello_facts() const;
  Status bind_address(const SocketAddress& to, SocketAddress* from, bool* bound) const;
  void on_deadline(Completion&);

  const std::string boot_id_;
  std::string same_host_directory_;
  uint64_t deadline_ns_ = 0;
  uint32_t lanes_ = 1;
  SocketAddress server_;  // the one that answered
};

}  // namespace gd2fs
