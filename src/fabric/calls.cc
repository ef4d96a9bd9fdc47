#include "fabric/calls.h"

namespace gd2fs {

struct Calls::Call : ListNode<> {
  Calls& calls;
  uint64_t request_id;
  msg::Type type;
  Await done;
  Timer timeout;
  std::vector<std::byte> body;

  Call(Calls& owner, uint64_t id, msg::Type request_type)
      : calls(owner), request_id(id), type(request_type) {
    timeout.bind<&Call::on_timeout>(this);
  }
  void on_timeout(Completion&) {
    calls.end(*this,
              Status(StatusCode::timed_out, "no reply from " + calls.session_.peer().address));
  }
};

Calls::Calls(Loop& loop, Session& session) : loop_(loop), session_(session) {}

Calls::~Calls() = default;

void Calls::end(Call& call, Status status) {
  call.unlink();
  --unanswered_;
  loop_.cancel(call.timeout);
  loop_.complete(call.done.done(), std::move(status));
}

Task<Result<CallReply>> Calls::call(msg::Type type, std::vector<std::byte> body,
                                    uint64_t timeout_ns) {
  if (!closed_.ok()) co_return fail(closed_);
  if (unanswered_ >= kCallsMax) co_return fail(StatusCode::busy, "calls_max requests unanswered");
  Call call(*this, session_.next_request_id(), type);
  const Status sent = session_.send(static_cast<uint16_t>(type), call.request_id, body);
  if (!sent.ok()) co_return fail(sent);
  body.clear();
  body.shrink_to_fit();
  call.done.done().start();
  calls_.push_back(call);
  ++unanswered_;
  loop_.start(call.timeout, timeout_ns);
  const Status ended = co_await call.done;
  if (!ended.ok()) co_return fail(ended);
  co_return CallReply(std::move(call.body));
}

bool Calls::on_reply(const Message& reply) {
  for (Call* call = calls_.front(); call != nullptr; call = calls_.next(*call)) {
    if (call->request_id != reply.request_id) continue;
    if (reply.type == static_cast<uint16_t>(msg::Type::error)) {
      end(*call, open_error(reply.body));
    } else if (reply.type != static_cast<uint16_t>(call->type)) {
      end(*call, Status(StatusCode::invalid, "the reply is of another type than the request"));
    } else {
      call->body.assign(reply.body.begin(), reply.body.end());
      end(*call, Status());
    }
    return true;
  }
  return false;
}

void Calls::on_closed(const Status& reason) {
  closed_ = reason.ok() ? Status(StatusCode::unavailable, "the session is closed") : reason;
  while (Call* call = calls_.front()) end(*call, closed_);
}

}  // namespace gd2fs
