#include "fabric/tcp_listener.h"

#include <algorithm>

#include "base/log.h"
#include "fabric/reply.h"
#include "fabric/same_host.h"
#include "wire/token.h"

namespace gd2fs {
namespace {

constexpr int kAcceptsPerTurn = 16;
constexpr uint64_t kAcceptPauseNs = 100 * kMs;  // after descriptors ran out

uint64_t random_session_number() {
  uint64_t number = 0;
  while (number == 0) secure_random(as_writable_bytes(&number, sizeof number));
  return number;
}

}  // namespace

TcpListener::Guest::Guest(TcpListener& owner, TcpSocket socket, std::string from)
    : listener(owner), address(std::move(from)), greeting(owner.loop_, std::move(socket)) {
  deadline.bind<&Guest::on_deadline>(this);
}

void TcpListener::Guest::on_deadline(Completion&) {
  greeting.abort(Status(StatusCode::timed_out, "handshake: too slow"));
}

TcpListener::TcpListener(Loop& loop, const TcpOptions& tcp, TcpSocket socket, std::string address,
                         ListenOptions options, OnSession on_session)
    : loop_(loop),
      tcp_(tcp),
      options_(std::move(options)),
      socket_(std::move(socket)),
      address_(std::move(address)),
      on_session_(std::move(on_session)),
      tasks_(loop) {
  watch_.bind<&TcpListener::on_events>(this);
  resume_.bind<&TcpListener::on_resume>(this);
}

TcpListener::~TcpListener() {
  loop_.unwatch(watch_);
}

Status TcpListener::start() {
  if (options_.insecure) {
    GD2FS_LOG_WARN("{} lets ANYBODY in who can reach it: it runs with --insecure", address_);
  }
  return loop_.watch(watch_, socket_.fd(), EPOLLIN);
}

void TcpListener::on_events(uint32_t) {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    auto accepted = socket_.accept();
    if (!accepted.has_value()) {
      GD2FS_LOG_WARN("{}: {}; raise the limit of open files", address_,
                     accepted.error().to_string());
      loop_.unwatch(watch_);
      loop_.start(resume_, kAcceptPauseNs);
      return;
    }
    if (!accepted->open()) return;
    welcome_guest(std::move(*accepted));
  }
}

void TcpListener::on_resume(Completion&) {
  if (!loop_.watch(watch_, socket_.fd(), EPOLLIN).ok()) loop_.start(resume_, kAcceptPauseNs);
}

Result<std::string> TcpListener::set_up(const TcpSocket& socket) const {
  GD2FS_TRY(socket.set_up());
  GD2FS_ASSIGN(const SocketAddress peer, peer_address_of(socket.fd()));
  return peer.to_string();
}

void TcpListener::welcome_guest(TcpSocket socket) {
  auto from = set_up(socket);
  if (!from.has_value()) return;                                 // gone already
  if (guests_.size() >= 2 * size_t{tcp_.greetings_max}) return;  // those sent away still leave
  if (guests_.size() >= tcp_.greetings_max) {
    auto oldest =
        std::next(guests_.begin(), static_cast<ptrdiff_t>(guests_.size() - tcp_.greetings_max));
    oldest->greeting.abort(Status(StatusCode::busy, "handshake: too many at once"));
  }
  Guest& guest = guests_.emplace_back(*this, std::move(socket), std::move(*from));
  guest.self = std::prev(guests_.end());
  loop_.start(guest.deadline, options_.handshake_timeout_ns);
  tasks_.spawn(greet(&guest));
}

Task<void> TcpListener::greet(Guest* guest) {
  TcpListener& listener = guest->listener;
  const Status status = co_await talk(guest);
  if (!status.ok()) {
    listener.log_refusal(*guest, status);
    // Why, for an honest client; whether it arrives does not matter.
    if (guest->greeting.socket().open()) {
      [[maybe_unused]] const Status said =
          guest->greeting.say(FrameKind::reply, msg::Type::error, pack_error(status));
    }
  }
  listener.guests_.erase(guest->self);
}

Task<Status> TcpListener::talk(Guest* guest) {
  TcpListener& listener = guest->listener;
  TcpGreeting& greeting = guest->greeting;
  ChallengeFacts facts;
  facts.server_id = listener.options_.server_id;
  facts.incarnation = listener.options_.incarnation;
  facts.deployment_id = listener.options_.deployment_id;
  ServerHandshake handshake(facts, listener.options_.insecure);

  Await heard;
  greeting.hear(heard.done());
  Status status = co_await heard;
  if (!status.ok()) co_return status;
  if (greeting.kind() != FrameKind::message || greeting.type() != msg::Type::hello) {
    co_return Status(StatusCode::invalid, "handshake: does not begin with hello");
  }
  auto challenge = handshake.on_hello(
      greeting.body(), [&](const HelloFacts& hello) { return listener.keys_for(hello); });
  if (!challenge.has_value()) co_return challenge.error();
  status = greeting.say(FrameKind::reply, msg::Type::challenge, *challenge);
  if (!status.ok()) co_return status;
  greeting.hear(heard.done());
  status = co_await heard;
  if (!status.ok()) co_return status;
  if (greeting.kind() != FrameKind::message || greeting.type() != msg::Type::proof) {
    co_return Status(StatusCode::invalid, "handshake: no proof");
  }
  status = handshake.on_proof(greeting.body());
  if (!status.ok()) co_return status;
  const HelloFacts& hello = handshake.hello();
  if (hello.session != 0) co_return listener.join_session(*guest, hello);
  if (!listener.options_.same_host_directory.empty() && !hello.boot_id.empty() &&
      hello.boot_id == boot_id()) {
    co_return listener.send_to_door(*guest);
  }
  status = co_await listener.open_session(guest, &handshake);
  co_return status;
}

std::vector<std::string> TcpListener::keys_for(const HelloFacts& hello) const {
  if (hello.session != 0) {
    const auto found = sessions_->by_number.find(hello.session);
    if (found == sessions_->by_number.end()) return {};
    return {found->second->session_key()};
  }
  if (!options_.keys) return {};
  const auto role = static_cast<PeerRole>(hello.role);
  return options_.keys(
      role, role == PeerRole::client ? std::string_view(hello.cluster) : std::string_view());
}

Status TcpListener::say_welcome(TcpGreeting& greeting, uint64_t number,
                                std::span<const int> descriptors) const {
  msg::WelcomeT welcome;
  welcome.session = number;
  welcome.lanes_max = kLanesMax;
  welcome.requests_max = kRequestsMax;
  welcome.eager_max_bytes = kEagerTotalMaxBytes;
  return greeting.say(FrameKind::reply, msg::Type::welcome, pack_body(welcome), descriptors);
}

Status TcpListener::send_to_door(Guest& guest) const {
  msg::WelcomeT welcome;
  welcome.same_host_directory = options_.same_host_directory;
  return guest.greeting.say(FrameKind::reply, msg::Type::welcome, pack_body(welcome));
}

Task<Result<std::unique_ptr<TcpSession>>> TcpListener::make_session(
    TcpGreeting* greeting, Peer peer, uint64_t number, const ServerHandshake* handshake) {
  auto session = std::make_unique<TcpSession>(loop_, tcp_, std::move(peer), number,
                                              handshake->hello().lanes, handshake->session_key());
  Status status = say_welcome(*greeting, number);
  if (status.ok()) status = session->add_lane(0, greeting->take());
  if (!status.ok()) co_return fail(status);
  co_return std::move(session);
}

Task<Status> TcpListener::open_session(Guest* guest, const ServerHandshake* handshake) {
  if (sessions_->by_number.size() >= options_.sessions_max) {
    co_return Status(StatusCode::busy, "sessions_max reached");
  }
  const HelloFacts& hello = handshake->hello();
  Peer peer;
  peer.role = static_cast<PeerRole>(hello.role);
  if (peer.role == PeerRole::client) peer.cluster = hello.cluster;
  peer.incarnation = hello.incarnation;
  peer.address = guest->address;
  const uint64_t number = random_session_number();
  auto session = co_await make_session(&guest->greeting, std::move(peer), number, handshake);
  if (!session.has_value()) co_return session.error();
  // Others may have come in while this one was being made.
  if (sessions_->by_number.size() >= options_.sessions_max) {
    co_return Status(StatusCode::busy, "sessions_max reached");
  }
  (*session)->enter(sessions_);
  TcpSession& given = **session;
  on_session_(std::move(*session));
  // Its owner may have ended it at once.
  const auto still = sessions_->by_number.find(number);
  if (still == sessions_->by_number.end() || still->second != &given) co_return Status();
  const Status started = given.start();
  if (!started.ok()) given.close(started);
  co_return Status();
}

Status TcpListener::join_session(Guest& guest, const HelloFacts& hello) {
  const auto found = sessions_->by_number.find(hello.session);
  if (found == sessions_->by_number.end()) return {StatusCode::unavailable, "no such session"};
  TcpSession& session = *found->second;
  const Peer& peer = session.peer();
  const bool same_cluster = peer.role != PeerRole::client || peer.cluster == hello.cluster;
  if (static_cast<PeerRole>(hello.role) != peer.role || !same_cluster ||
      hello.incarnation != peer.incarnation || hello.lanes != session.lanes()) {
    return {StatusCode::denied, "the lane belongs to another peer"};
  }
  GD2FS_TRY(session.check_lane(hello.lane));
  GD2FS_TRY(say_welcome(guest.greeting, hello.session));
  return session.add_lane(hello.lane, guest.greeting.take());
}

void TcpListener::log_refusal(const Guest& guest, const Status& reason) {
  uint64_t skipped = 0;
  if (!log_limit_.allow(loop_.now_ns(), &skipped)) return;
  if (skipped > 0) GD2FS_LOG_WARN("{}: {} refusals were not logged", address_, skipped);
  GD2FS_LOG_WARN("{}: connection from {} refused: {}", address_, guest.address, reason.to_string());
}

}  // namespace gd2fs
