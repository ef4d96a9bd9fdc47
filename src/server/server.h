// Server: a data server: it keeps chunks in its Store and serves them to clients over a Fabric,
// while the controller says it may. Everything on one loop.
//
// Composition, as `gd2fs server` does it (the parts outlive the server; sim/cluster.h does the same
// with simulated parts):
//
//   RealClock clock;
//   Loop loop(clock, Loop::Waits::epoll);
//   Random random(Random::seed_from_kernel());
//   auto store = co_await Store::open(loop, std::move(drives), memfd_arena_source(), store_options,
//                                     random.fork());
//   auto fabric = tcp_fabric(loop, ...);
//   ServerOptions options;
//   options.incarnation = random.next() | 1;
//   options.deployment_id = deployment_id;         // the same that the store was opened with
//   options.deployment_secret = secret_key;        // key_from_token(<data>/secret)
//   options.controllers = {"tcp://127.0.0.1:7527"};
//   options.listen = {"tcp://0.0.0.0:7528"};
//   options.advertise = {"tcp://192.168.1.5:7528"};
//   Server server(loop, **store, *fabric, random.fork(), options);
//   server.start();                                // returns; server.serving() tells when
//   ... run the loop ...
//   co_await server.stop();                        // then: co_await store->close(), destroy
//   server,
//                                                  // fabric, store, in this order
#pragma once

#include <list>
#include <memory>
#include <vector>

#include "base/random.h"
#include "fabric/fabric.h"
#include "server/connection.h"
#include "server/registration.h"
#include "server/server_state.h"

namespace gd2fs::server {

class Server final : public ConnectionOwner, public RegistrationOwner {
 public:
  Server(Loop& loop, Store& store, Fabric& fabric, Random random, const ServerOptions& options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Begins to register; listens once the controller has sent the keys.
  void start();
  // Takes no one new, closes every session, waits until nothing is in flight in the store. A scrub
  // may still run; it ends with the store's close().
  Task<void> stop();

  // Listening, known to the controller with its addresses, and holding a lease.
  bool serving() const { return registration_.established() && state_.lease.held(); }
  // Why it cannot come to serve before somebody does something; ok otherwise.
  const Status& fatal() const { return registration_.fatal(); }
  uint32_t server_id() const { return registration_.server_id(); }
  std::vector<std::string> addresses() const;  // as bound
  const ServerCounters& counters() const { return state_.counters; }
  std::vector<NamedValue> metrics() const;

  void connection_ended(Connection& connection) override;
  Result<std::vector<std::string>> begin_listening() override;
  void clusters_changed() override;
  void list_sessions(size_t sessions_max,
                     std::vector<std::unique_ptr<msg::SessionInfoT>>* out) override;

 private:
  void on_session(std::unique_ptr<Session> session);
  void on_sweep(Completion& done);
  std::vector<std::string> keys(PeerRole role, std::string_view cluster) const;

  ServerState state_;
  Fabric& fabric_;
  Registration registration_;
  Result<std::unique_ptr<Listener>> listen_at(const std::string& address);
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::list<Connection> connections_;
  Timer sweep_;
  bool stopping_ = false;
  Await* emptied_ = nullptr;  // of stop()
};

}  // namespace gd2fs::server
