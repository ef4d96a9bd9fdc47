// Operation: one request being carried out. It lives from Client::submit() until finish(), on the
// client's loop, as a struct with explicit steps: every leaf that it starts ends in one of its
// Completions, and it finishes only when none is open. Lives in the client's blocks().
#pragma once

#include "base/block_pool.h"
#include "base/list.h"
#include "client/request.h"

namespace gd2fs::client {

class Client;

class Operation : public ListNode<>, public FromBlockPool {
 public:
  Operation(Client& client, Request& request) : client_(client), request_(request) {}
  virtual ~Operation() = default;
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  virtual void start() = 0;
  // Stops what is in flight; the request completes with `why` once no peer can touch its memory.
  void give_up(const Status& why, Origin origin);
  // Grows while the operation gets somewhere; the client's deadline counts from its last growth.
  virtual uint64_t progress() const = 0;
  // Who keeps it waiting, for the message when time is up: not ok if that peer is out of reach.
  virtual Status trouble() const = 0;
  virtual Origin waits_for() const = 0;

  Request& request() { return request_; }
  uint64_t seen_progress = 0;  // the client's notes for the deadline
  uint64_t progress_ns = 0;

 protected:
  // Asks everything in flight to end.
  virtual void stop() = 0;
  virtual bool quiet() const = 0;  // nothing is in flight
  // To be called after every completion: finishes an operation that failed or was given up.
  // True if the operation has ended or only waits for its end.
  bool ending();
  // The first failure sticks; stops the rest.
  void fail(const Status& why, Origin origin);
  void finish(uint64_t value);

  Client& client_;
  Request& request_;

 private:
  void settle();
  Status failure_;
  Origin failure_origin_ = Origin::none;
  bool finished_ = false;
};

}  // namespace gd2fs::client
