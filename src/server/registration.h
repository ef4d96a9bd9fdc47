// Registration: this server's standing with the controller, over one session that both sides ask
// on.
//
// It connects (each controller in turn, with back-off and jitter), registers, and sends heartbeats.
// A lease comes with a heartbeat's or the registration's answer, and counts from when that was
// *sent*. The controller gives none before every fence that it still owes this server is durable
// here; it sends them as ordinary fence requests. Without a controller the lease runs out and the
// server answers `unavailable` until it has registered again.
//
// The first registration names no addresses: it fetches the clusters' keys, without which a
// returning client would be turned away as a stranger. Then the server listens and registers with
// its addresses. One loop.
#pragma once

#include <functional>
#include <memory>

#include "base/random.h"
#include "fabric/calls.h"
#include "fabric/fabric.h"
#include "loop/task_group.h"
#include "server/server_state.h"

namespace gd2fs::server {

struct ScrubState {
  bool running = false;
  uint64_t finished_us = 0;  // wall clock; 0: never
  ScrubReport report;        // of the last one that ended
};

class RegistrationOwner {
 public:
  // The keys are here: clients may come in. The addresses to tell them.
  virtual Result<std::vector<std::string>> begin_listening() = 0;
  // The clusters have changed: whoever belongs to one that is gone must go.
  virtual void clusters_changed() = 0;
  // The clients that are here and how they come, at most sessions_max of them.
  virtual void list_sessions(size_t sessions_max,
                             std::vector<std::unique_ptr<msg::SessionInfoT>>* out) = 0;

 protected:
  ~RegistrationOwner() = default;
};

class Registration final : public SessionEvents {
 public:
  Registration(ServerState& state, Fabric& fabric, RegistrationOwner& owner, Random random);
  ~Registration() override;
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;

  void start();
  // Ends the session and waits for what runs, but for a scrub, which ends with the store.
  Task<void> stop();

  // Why it cannot succeed before somebody does something: denied (the deployment's secret is
  // wrong), invalid (another deployment's controller), an address that cannot be listened on. It
  // goes on trying; whoever started the server may prefer to end it.
  const Status& fatal() const { return fatal_; }
  // The controller has been told the addresses, at least once.
  bool established() const { return established_; }
  uint32_t server_id() const { return server_id_; }

  // --- for the controller's requests ---
  ServerState& state() { return state_; }
  RegistrationOwner& owner() { return owner_; }
  // An answer for the session that asked, if it is still the one.
  void reply(uint64_t session_number, msg::Type type, uint64_t request_id, ConstBytes body);
  void reply_error(uint64_t session_number, uint64_t request_id, const Status& why);
  void spawn_background(Task<void> task) { background_.spawn(std::move(task)); }
  ScrubState scrub;

  void on_message(Session& session, const Message& message) override;
  void on_reply(Session& session, const Message& reply) override;
  void on_closed(Session& session, const Status& reason) override;

 private:
  Task<void> run();
  Task<Status> serve(std::string address);
  Task<Status> register_once();
  Task<Status> send_heartbeat();
  Task<void> pause(uint64_t delay_ns);
  Status apply(const CallReply& reply, uint64_t asked_at_ns);
  Task<Status> forget_drives(const CallReply& reply);
  std::vector<std::byte> register_body() const;

  ServerState& state_;
  Fabric& fabric_;
  RegistrationOwner& owner_;
  Random random_;
  TaskGroup tasks_;
  TaskGroup requests_;    // the controller's
  TaskGroup background_;  // a scrub
  std::unique_ptr<Session> session_;
  std::unique_ptr<Calls> calls_;
  uint64_t session_number_ = 0;
  Status session_end_;
  std::vector<std::string> addresses_;
  bool listening_ = false;
  bool established_ = false;
  bool stopping_ = false;
  uint32_t server_id_;
  Status fatal_;
  Timer pause_timer_;
  Await* pausing_ = nullptr;
};

}  // namespace gd2fs::server
