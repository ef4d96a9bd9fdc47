// Connection: one client's session on a data server: its handles, its requests in flight, and their
// safe end when the session closes.
//
// Data requests are checked here in this order: lease (unavailable), handle (stale, or the reason
// it was refused), rights (denied), expiry and generation of the capability, namespace epoch and
// group epoch (stale), the pieces' number and bounds (invalid), limits (busy). What the check lets
// through may be served even if a fence comes right behind it: it was asked for before that fence
// was acknowledged to anybody. The store asks for the generation again at each read and commit.
//
// A connection is destroyed by its owner, from the loop, once the session is closed and the last
// request has ended. One loop.
#pragma once

#include <memory>

#include "base/pool.h"
#include "fabric/fabric.h"
#include "server/handle_table.h"
#include "server/request.h"
#include "server/step_queue.h"
#include "server/transfer_step.h"
#include "wire/message.h"

namespace gd2fs::server {

struct ServerState;

class ConnectionOwner {
 public:
  // From the loop: nothing of the connection is in flight any more. Destroys it.
  virtual void connection_ended(Connection& connection) = 0;

 protected:
  ~ConnectionOwner() = default;
};

class Connection final : public SessionEvents {
 public:
  // Becomes the session's events. cluster_id: of the cluster that the client proved to belong to.
  Connection(ServerState& state, ConnectionOwner& owner, std::unique_ptr<Session> session,
             uint16_t cluster_id);
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  uint16_t cluster_id() const { return cluster_id_; }
  Session& session() { return *session_; }
  ServerState& state() { return state_; }
  HandleTable& handles() { return handles_; }
  size_t requests() const { return requests_count_; }
  void close(Status why) { session_->close(std::move(why)); }
  // Closes a session that holds memory here and has moved nothing for options.stall_ns.
  void check_stall();

  // --- for requests ---
  void begin(Request& request);
  void end(Request& request);
  void reply(msg::Type type, uint64_t request_id, ConstBytes body);
  void reply_error(uint64_t request_id, const Status& why, std::span<const uint64_t> done = {});
  List<TransferStep, TransferStep>& open_steps() { return open_steps_; }
  StepAccount small_reads;
  StepAccount big_reads;
  StepAccount small_writes;
  StepAccount big_writes;

  void on_message(Session& session, const Message& message) override;
  void on_reply(Session& session, const Message& reply) override;
  void on_closed(Session& session, const Status& reason) override;

 private:
  friend void cancel_request(Connection& connection, const msg::Cancel& cancel);

  void on_read(uint64_t request_id, const msg::Read& read);
  void on_write(uint64_t request_id, const msg::Write& write);
  void on_flush(uint64_t request_id, const msg::Flush& flush);
  void on_prefetch(uint64_t request_id, const msg::Prefetch& prefetch);
  void on_residency(uint64_t request_id, const msg::Residency& residency);
  template <class Table>
  Result<Handle> check_data_request(const Table& request, bool writes);
  template <class Op>
  Op* admit(uint64_t request_id, Pool<Op>& pool);
  void refuse(uint64_t request_id, const Status& why);
  void malformed(std::string_view what);
  void count_session(uint64_t change);
  void end_when_quiet();
  void on_ended(Completion& done);

  ServerState& state_;
  ConnectionOwner& owner_;
  std::unique_ptr<Session> session_;
  uint16_t cluster_id_;
  HandleTable handles_;
  List<Request, Request> requests_;
  size_t requests_count_ = 0;
  List<TransferStep, TransferStep> open_steps_;
  uint64_t moved_bytes_ = 0;  // by all open steps, at the last check_stall()
  uint64_t progress_ns_;      // when something moved, or nothing was open, at the latest
  uint64_t steps_ended_ = 0;
  bool closed_ = false;
  Completion ended_;
};

}  // namespace gd2fs::server
