// Calls: requests of the control path over one session, a coroutine each, matched to their replies.
//
//   Calls calls(loop, session);
//   auto reply = co_await calls.call(type, pack_body(request), 3 * kSecond);
//   if (!reply) ...                      // the peer's error, timed_out, busy, unavailable
//   const auto* body = reply->open<msg::LookupReply>();   // nullptr: malformed
//
// The owner of the session passes its events on: on_reply() and on_closed(). Calls outlives its
// tasks; the session outlives on_closed(). A timed-out request may still be executed by the peer;
// its late reply is ignored. No windows here: bulk bytes are the data path's.
// Thread rule: the session's loop.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/list.h"
#include "fabric/fabric.h"
#include "loop/task.h"
#include "wire/message.h"

namespace gd2fs {

class CallReply {
 public:
  explicit CallReply(std::vector<std::byte> body) : body_(std::move(body)) {}
  template <class Table>
  const Table* open() const {
    return open_body<Table>(body_);
  }

 private:
  std::vector<std::byte> body_;
};

class Calls {
 public:
  static constexpr size_t kCallsMax = kRequestsMax;  // unanswered; the next one is busy

  Calls(Loop& loop, Session& session);
  ~Calls();
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  Task<Result<CallReply>> call(msg::Type type, std::vector<std::byte> body, uint64_t timeout_ns);

  // True if the reply was awaited here.
  bool on_reply(const Message& reply);
  // Every open and later call answers `reason`.
  void on_closed(const Status& reason);
  size_t unanswered() const { return unanswered_; }

 private:
  struct Call;
  void end(Call& call, Status status);

  Loop& loop_;
  Session& session_;
  List<Call> calls_;
  size_t unanswered_ = 0;
  Status closed_;
};

}  // namespace gd2fs
