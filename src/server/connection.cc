#include "server/connection.h"

#include <cerrno>

#include "base/log.h"
#include "server/bind_handle.h"
#include "server/cancel.h"
#include "server/residency_op.h"
#include "server/server_state.h"

namespace gd2fs::server {
namespace {

// invalid unless every piece lies within its chunk and its place in the window can be counted.
template <class Pieces>
Status check_pieces(const Pieces* pieces, uint8_t chunk_log2, bool writes) {
  if (pieces == nullptr) return {};
  if (pieces->size() > kPiecesMax) {
    return {StatusCode::invalid, "more than kPiecesMax pieces in one request"};
  }
  const uint64_t chunk_bytes = uint64_t{1} << chunk_log2;
  for (const auto* piece : *pieces) {
    const uint64_t end = uint64_t{piece->offset_bytes()} + piece->length_bytes();
    if (end > chunk_bytes) return {StatusCode::invalid, "a piece ends behind its chunk"};
    if (piece->window_offset() > UINT64_MAX / 2) {
      return {StatusCode::invalid, "a piece's place in the window is out of range"};
    }
    if (writes && piece->length_bytes() == 0) {
      return {StatusCode::invalid, "a piece to write is empty"};
    }
  }
  return {};
}

}  // namespace

Connection::Connection(ServerState& state, ConnectionOwner& owner, std::unique_ptr<Session> session,
                       uint16_t cluster_id)
    : state_(state),
      owner_(owner),
      session_(std::move(session)),
      cluster_id_(cluster_id),
      handles_(state.options.session_handles_max),
      progress_ns_(state.loop.now_ns()) {
  ended_.bind<&Connection::on_ended>(this);
  session_->set_events(this);
  count_session(1);
  ++state_.counters.sessions_total;
}

Connection::~Connection() {
  count_session(UINT64_MAX);  // less one
}

void Connection::count_session(uint64_t change) {
  ServerCounters& counters = state_.counters;
  counters.sessions += change;
  if (session_->path() == "shm") counters.sessions_shm += change;
  if (session_->path() == "rdma") counters.sessions_rdma += change;
}

void Connection::begin(Request& request) {
  requests_.push_back(request);
  ++requests_count_;
  ++state_.counters.requests;
}

void Connection::end(Request& request) {
  request.unlink();
  --requests_count_;
  --state_.counters.requests;
  ++steps_ended_;
  end_when_quiet();
}

void Connection::reply(msg::Type type, uint64_t request_id, ConstBytes body) {
  if (closed_ || !session_->open()) return;  // the client learns from the close
  Status sent = session_->reply(static_cast<uint16_t>(type), request_id, body);
  // A client that does not read even its replies would wait for ever.
  if (!sent.ok()) session_->close(sent.with("reply to " + session_->peer().address));
}

void Connection::reply_error(uint64_t request_id, const Status& why,
                             std::span<const uint64_t> done) {
  if (why.is(StatusCode::stale)) ++state_.counters.stale_total;
  if (why.is(StatusCode::busy)) ++state_.counters.busy_total;
  reply(msg::Type::error, request_id, pack_error(why, done));
}

void Connection::malformed(std::string_view what) {
  ++state_.counters.malformed_total;
  const std::string text = "malformed " + std::string(what) + " from " + session_->peer().address;
  GD2FS_LOG_WARN("session closed: {}", text);
  session_->close(Status(StatusCode::invalid, text));
}

void Connection::on_message(Session&, const Message& message) {
  const auto type = static_cast<msg::Type>(message.type);
  switch (type) {
    case msg::Type::bind_handle:
      if (const auto* bind = open_body<msg::BindHandle>(message.body)) {
        return bind_handle(*this, *bind);
      }
      return malformed("bind_handle");
    case msg::Type::read:
      if (const auto* read = state_.read_form.open(message.body)) {
        return on_read(message.request_id, *read);
      }
      return malformed("read");
    case msg::Type::write:
      if (const auto* write = open_body<msg::Write>(message.body)) {
        return on_write(message.request_id, *write);
      }
      return malformed("write");
    case msg::Type::cancel:
      if (const auto* cancel = open_body<msg::Cancel>(message.body)) {
        return cancel_request(*this, *cancel);
      }
      return malformed("cancel");
    case msg::Type::flush:
      if (const auto* flush = open_body<msg::Flush>(message.body)) {
        return on_flush(message.request_id, *flush);
      }
      return malformed("flush");
    case msg::Type::prefetch:
      if (const auto* prefetch = open_body<msg::Prefetch>(message.body)) {
        return on_prefetch(message.request_id, *prefetch);
      }
      return malformed("prefetch");
    case msg::Type::residency:
      if (const auto* residency = open_body<msg::Residency>(message.body)) {
        return on_residency(message.request_id, *residency);
      }
      return malformed("residency");
    default:
      if (message.request_id != 0) {
        reply_error(message.request_id, Status(StatusCode::unsupported, "unknown operation"));
      }
  }
}

// A data server asks clients nothing.
void Connection::on_reply(Session&, const Message&) {
  malformed("reply");
}

template <class Table>
Result<Handle> Connection::check_data_request(const Table& request, bool writes) {
  if (!state_.lease.held()) {
    ++state_.counters.unleased_total;
    return fail(StatusCode::unavailable, "this server holds no lease");
  }
  const Result<Handle> found = handles_.find(request.handle());
  if (!found.has_value()) {
    // Without a handle nobody can tell whether an earlier copy of a write was executed: this stale
    // promises nothing, and says so by its errno.
    const Status& why = found.error();
    const bool promises = !writes || !why.is(StatusCode::stale);
    return fail(promises ? why : Status(StatusCode::stale, why.text(), EBADF));
  }
  const Handle handle = *found;
  if (writes ? !handle.may_write : !handle.may_read) {
    return fail(StatusCode::denied, "the capability does not permit this");
  }
  GD2FS_TRY(check_pieces(request.pieces(), handle.chunk_log2, writes));
  if (writes) return handle;
  GD2FS_TRY(state_.check_handle(handle, request.generation()));
  GD2FS_TRY(state_.authority.check_namespace(cluster_id_, request.namespace_epoch()));
  GD2FS_TRY(state_.authority.check_group(request.group(), request.epoch()));
  return handle;
}

// Takes a request's state from the pool. One session may hold no more than what is left for all
// others, so that several greedy ones cannot shut out a modest one.
template <class Op>
Op* Connection::admit(uint64_t request_id, Pool<Op>& pool) {
  const size_t left = pool.objects_max() - pool.in_use();
  if (requests_count_ < state_.options.session_requests_max && requests_count_ <= left) {
    if (Op* op = pool.get()) return op;
  }
  reply_error(request_id, Status(StatusCode::busy, "too many requests in flight"));
  return nullptr;
}

void Connection::on_read(uint64_t request_id, const msg::Read& read) {
  const auto handle = check_data_request(read, false);
  if (!handle.has_value()) return reply_error(request_id, handle.error());
  if (ReadOp* op = admit(request_id, state_.read_ops)) {
    op->start(*this, request_id, *handle, read);
  }
}

void Connection::on_write(uint64_t request_id, const msg::Write& write) {
  const auto handle = check_data_request(write, true);
  if (!handle.has_value()) return reply_error(request_id, handle.error());
  if (WriteOp* op = admit(request_id, state_.write_ops)) {
    op->start(*this, request_id, *handle, write);
  }
}

void Connection::on_flush(uint64_t request_id, const msg::Flush&) {
  if (!state_.lease.held()) {
    return reply_error(request_id, Status(StatusCode::unavailable, "this server holds no lease"));
  }
  if (FlushOp* op = admit(request_id, state_.flush_ops)) op->start(*this, request_id);
}

void Connection::on_prefetch(uint64_t request_id, const msg::Prefetch& prefetch) {
  const auto handle = check_data_request(prefetch, false);
  if (!handle.has_value()) return reply_error(request_id, handle.error());
  if (PrefetchOp* op = admit(request_id, state_.prefetch_ops)) {
    op->start(*this, request_id, *handle, prefetch);
  }
}

void Connection::on_residency(uint64_t request_id, const msg::Residency& residency) {
  const auto handle = check_data_request(residency, false);
  if (!handle.has_value()) return reply_error(request_id, handle.error());
  residency_op(*this, request_id, *handle, residency);
}

void Connection::check_stall() {
  uint64_t moved = steps_ended_;
  for (TransferStep* step = open_steps_.front(); step != nullptr; step = open_steps_.next(*step)) {
    moved += step->moved_bytes();
  }
  const uint64_t now_ns = state_.loop.now_ns();
  if (open_steps_.empty() || moved != moved_bytes_) {
    moved_bytes_ = moved;
    progress_ns_ = now_ns;
    return;
  }
  if (now_ns - progress_ns_ < state_.options.stall_ns || !session_->open()) return;
  ++state_.counters.sessions_stalled_total;
  GD2FS_LOG_WARN("session closed: {} holds memory and has moved nothing for {} s",
                 session_->peer().address, state_.options.stall_ns / kSecond);
  session_->close(Status(StatusCode::timed_out, "no progress"));
}

void Connection::on_closed(Session&, const Status& reason) {
  closed_ = true;
  const Status why = reason.ok() ? Status(StatusCode::unavailable, "session closed") : reason;
  for (Request* request = requests_.front(); request != nullptr;) {
    Request* next = requests_.next(*request);  // `request` may end in here
    request->cancel(why);
    request = next;
  }
  end_when_quiet();
}

void Connection::end_when_quiet() {
  if (!closed_ || requests_count_ > 0 || ended_.pending()) return;
  ended_.start();
  state_.loop.complete(ended_, Status());
}

void Connection::on_ended(Completion&) {
  owner_.connection_ended(*this);  // destroys this
}

}  // namespace gd2fs::server
