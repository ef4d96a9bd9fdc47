#include "server/registration.h"

#include <algorithm>

#include "base/log.h"
#include "fabric/reply.h"
#include "server/controller_requests.h"

namespace gd2fs::server {

Registration::Registration(ServerState& state, Fabric& fabric, RegistrationOwner& owner,
                           Random random)
    : state_(state),
      fabric_(fabric),
      owner_(owner),
      random_(random),
      tasks_(state.loop),
      requests_(state.loop),
      background_(state.loop),
      server_id_(state.options.server_id) {}

Registration::~Registration() = default;

void Registration::start() {
  tasks_.spawn(run());
}

Task<void> Registration::stop() {
  stopping_ = true;
  state_.lease.give_up();
  if (session_ != nullptr) session_->close(Status(StatusCode::unavailable, "the server stops"));
  if (pausing_ != nullptr) state_.loop.start(pause_timer_, 0);
  co_await requests_.idle();
  co_await tasks_.idle();
}

// Ends early when the server is told to stop or the session closes.
Task<void> Registration::pause(uint64_t delay_ns) {
  Await waited;
  pausing_ = &waited;
  pause_timer_.fired.bind(this, [](void* self, Completion&) {
    auto* registration = static_cast<Registration*>(self);
    Await* waiter = std::exchange(registration->pausing_, nullptr);
    registration->state_.loop.complete(waiter->done(), Status());
  });
  waited.done().start();
  state_.loop.start(pause_timer_, delay_ns);
  const Status status = co_await waited;
  CHECK(status.ok());
}

Task<void> Registration::run() {
  const ServerOptions& options = state_.options;
  uint64_t wait_ns = options.register_wait_min_ns;
  std::string last_reason;
  for (size_t turn = 0; !stopping_; ++turn) {
    const uint64_t registrations = state_.counters.registrations_total;
    const Status ended = co_await serve(options.controllers[turn % options.controllers.size()]);
    session_.reset();
    calls_.reset();
    if (stopping_) break;
    if (state_.counters.registrations_total > registrations) {
      wait_ns = options.register_wait_min_ns;
      last_reason.clear();
    }
    const std::string reason = ended.to_string();
    if (reason != last_reason) GD2FS_LOG_WARN("no controller: {}", reason);
    last_reason = reason;
    if (ended.is(StatusCode::denied) || ended.is(StatusCode::invalid)) fatal_ = ended;
    co_await pause(wait_ns / 2 + random_.below(wait_ns / 2 + 1));
    wait_ns = std::min(wait_ns * 2, options.register_wait_max_ns);
  }
}

// One session, from connect to its end. Answers why it ended.
Task<Status> Registration::serve(std::string address) {
  const ServerOptions& options = state_.options;
  ConnectOptions connect;
  connect.address = address;
  connect.role = PeerRole::server;
  connect.key = options.deployment_secret;
  connect.insecure = options.insecure;
  connect.incarnation = options.incarnation;
  connect.timeout_ns = options.call_timeout_ns;
  connect.events = this;
  auto connected = co_await fabric_.connect(std::move(connect));
  if (!connected.has_value()) co_return connected.error();
  session_ = std::move(*connected);
  ++session_number_;
  session_end_ = Status();
  calls_ = std::make_unique<Calls>(state_.loop, *session_);
  Status status = stopping_ ? Status(StatusCode::canceled, "the server stops") : Status();
  if (status.ok()) status = co_await register_once();
  while (status.ok() && session_end_.ok()) {
    // Until there is a lease the controller owes fences: soon, not in a second.
    co_await pause(state_.lease.held() ? options.heartbeat_ns : options.register_wait_min_ns);
    if (!session_end_.ok() || stopping_) break;
    status = co_await send_heartbeat();
  }
  // The session may only be destroyed once it has said that it is closed.
  if (session_end_.ok()) {
    session_->close(status.ok() ? Status(StatusCode::unavailable, "the server stops") : status);
    while (session_end_.ok()) co_await pause(kMs);
  }
  co_return status.ok() ? session_end_ : status;
}

std::vector<std::byte> Registration::register_body() const {
  const StoreStats stats = state_.store.stats();
  msg::RegisterServerT body;
  body.info = std::make_unique<msg::ServerInfoT>();
  body.info->server_id = server_id_;
  body.info->incarnation = state_.options.incarnation;
  body.info->addresses = addresses_;
  body.info->alive = true;
  body.deployment_id = state_.options.deployment_id;
  body.drives = stats.drives;
  body.total_bytes = stats.total_bytes;
  body.free_bytes = stats.free_bytes;
  body.inode_ends_wanted = state_.store.has_drives_to_forget();
  body.renew_capabilities = !listening_ && state_.store.fences_unsure();
  return pack_body(body);
}

Task<Status> Registration::register_once() {
  for (;;) {
    const uint64_t asked_at_ns = state_.loop.now_ns();
    auto reply = co_await calls_->call(msg::Type::register_server, register_body(),
                                       state_.options.call_timeout_ns);
    if (!reply.has_value()) co_return reply.error().with("register");
    GD2FS_CO_TRY(apply(*reply, asked_at_ns));
    GD2FS_CO_TRY(co_await forget_drives(*reply));
    ++state_.counters.registrations_total;
    if (listening_) {
      established_ = true;
      co_return Status();
    }
    auto addresses = owner_.begin_listening();
    if (!addresses.has_value()) {
      fatal_ = addresses.error();
      co_return fatal_;
    }
    addresses_ = std::move(*addresses);
    listening_ = true;
  }
}

Status Registration::apply(const CallReply& reply, uint64_t asked_at_ns) {
  const auto* body = reply.open<msg::RegisterServerReply>();
  if (body == nullptr || body->keys() == nullptr) {
    return {StatusCode::invalid, "register: malformed answer"};
  }
  server_id_ = body->server_id();
  // Whoever was given a capability before may have missed what a fence did since.
  if (!listening_ && state_.store.fences_unsure()) state_.authority.refuse_older_keys();
  state_.authority.set_groups(body->groups());
  state_.authority.set_keys(*body->keys());
  owner_.clusters_changed();
  if (body->lease_ms() > 0) state_.lease.extend(asked_at_ns, body->lease_ms() * kMs);
  return {};
}

// Before anything is served. Files that are made from now on have nothing to lose on these drives.
Task<Status> Registration::forget_drives(const CallReply& reply) {
  if (!state_.store.has_drives_to_forget()) co_return Status();
  const auto* body = reply.open<msg::RegisterServerReply>();
  std::vector<uint64_t> inode_ends;
  if (body->inode_ends() != nullptr) {
    inode_ends.assign(body->inode_ends()->begin(), body->inode_ends()->end());
  }
  const auto* const clusters = body->keys()->keys();
  if (inode_ends.empty() && clusters != nullptr && clusters->size() != 0) {
    co_return Status(StatusCode::unsupported,
                     "forget drives: the controller is of an older version");
  }
  const Status status = co_await state_.store.forget_drives(std::move(inode_ends));
  co_return status.with("forget drives");
}

Task<Status> Registration::send_heartbeat() {
  const StoreStats stats = state_.store.stats();
  msg::HeartbeatT body;
  body.server_id = server_id_;
  body.incarnation = state_.options.incarnation;
  body.free_bytes = stats.free_bytes;
  body.used_bytes = stats.used_bytes;
  const uint64_t asked_at_ns = state_.loop.now_ns();
  auto reply =
      co_await calls_->call(msg::Type::heartbeat, pack_body(body), state_.options.call_timeout_ns);
  if (!reply.has_value()) co_return reply.error().with("heartbeat");
  const auto* answer = reply->open<msg::HeartbeatReply>();
  if (answer == nullptr) co_return Status(StatusCode::invalid, "heartbeat: malformed answer");
  ++state_.counters.heartbeats_total;
  if (answer->lease_ms() > 0) state_.lease.extend(asked_at_ns, answer->lease_ms() * kMs);
  co_return Status();
}

void Registration::on_message(Session& session, const Message& message) {
  if (requests_.running() >= state_.options.controller_requests_max) {
    return gd2fs::reply_error(session, message.request_id,
                              Status(StatusCode::busy, "controller_requests_max"));
  }
  auto task = controller_request(*this, session_number_, message);
  if (!task.has_value()) return gd2fs::reply_error(session, message.request_id, task.error());
  requests_.spawn(std::move(*task));
}

void Registration::on_reply(Session&, const Message& reply) {
  if (calls_ != nullptr) calls_->on_reply(reply);
}

void Registration::on_closed(Session&, const Status& reason) {
  session_end_ = reason.ok() ? Status(StatusCode::unavailable, "the controller left") : reason;
  if (calls_ != nullptr) calls_->on_closed(session_end_);
  if (pausing_ != nullptr) state_.loop.start(pause_timer_, 0);
}

void Registration::reply(uint64_t session_number, msg::Type type, uint64_t request_id,
                         ConstBytes body) {
  if (session_number != session_number_ || session_ == nullptr || !session_->open()) return;
  reply_body(*session_, type, request_id, body);
}

void Registration::reply_error(uint64_t session_number, uint64_t request_id, const Status& why) {
  if (session_number != session_number_ || session_ == nullptr || !session_->open()) return;
  gd2fs::reply_error(*session_, request_id, why);
}

}  // namespace gd2fs::server
