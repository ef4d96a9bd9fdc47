// Request: what every request of a client has in common: its connection, its id, and that it can be
// told to stop. It lies on its connection's list from Connection::begin() to Connection::end().
#pragma once

#include <cstdint>

#include "base/list.h"
#include "base/status.h"
#include "wire/messages_generated.h"

namespace gd2fs::server {

class Connection;

class Request : public ListNode<Request> {
 public:
  // The client gave up, or the session is closed. The request starts nothing more and ends, at once
  // or when what it has in flight has ended.
  virtual void cancel(const Status& why) = 0;

  uint64_t request_id() const { return request_id_; }

 protected:
  ~Request() = default;
  Connection* connection_ = nullptr;
  uint64_t request_id_ = 0;
};

}  // namespace gd2fs::server
