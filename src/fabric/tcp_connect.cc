#include "fabric/tcp_connect.h"

#include <algorithm>
#include <cstring>

namespace gd2fs {
namespace {

// A look-up that may outlast whoever wanted it: it owns itself until the worker is done with it.
struct LookUp {
  Job job;
  TcpAddress address;
  std::vector<SocketAddress> found;
  Completion* waiter = nullptr;
  Loop* loop = nullptr;
  bool over = false;

  static LookUp* start(Loop& loop, Worker& worker, TcpAddress address, Completion& waiter) {
    auto* look_up = new LookUp;
    look_up->address = std::move(address);
    look_up->waiter = &waiter;
    look_up->loop = &loop;
    look_up->job.run = [look_up]() -> Status {
      GD2FS_ASSIGN(look_up->found, resolve(look_up->address, Resolve::names_too));
      return {};
    };
    look_up->job.done.bind<&LookUp::on_done>(look_up);
    waiter.start();
    worker.submit(loop, look_up->job);
    return look_up;
  }
  void on_done(Completion& done) {
    over = true;
    if (waiter == nullptr) {
      delete this;
    } else {
      loop->complete(*waiter, done.status);
    }
  }
  void leave() {  // the waiter is gone, or has what it wanted
    waiter = nullptr;
    if (over) delete this;
  }
};

struct LookUpHandle {
  explicit LookUpHandle(LookUp* started) : look_up(started) {}
  ~LookUpHandle() { look_up->leave(); }
  LookUpHandle(const LookUpHandle&) = delete;
  LookUpHandle& operator=(const LookUpHandle&) = delete;
  LookUp* look_up;
};

}  // namespace

TcpConnect::TcpConnect(Loop& loop, Worker& worker, const TcpOptions& tcp, ConnectOptions options,
                       std::string boot_id)
    : loop_(loop),
      worker_(worker),
      tcp_(tcp),
      options_(std::move(options)),
      boot_id_(std::move(boot_id)) {}

Task<Result<std::unique_ptr<Session>>> TcpConnect::run() {
  deadline_ns_ = loop_.now_ns() + options_.timeout_ns;
  lanes_ = options_.lanes == 0 ? 1 : std::max(options_.lanes, tcp_.lanes_min);
  lanes_ = std::min<uint32_t>(lanes_, kLanesMax);
  auto address = parse_tcp_address(options_.address);
  if (!address.has_value()) co_return fail(address.error());
  auto found = co_await look_up(*address);
  if (!found.has_value()) co_return fail(found.error().with(options_.address));
  Status status;
  for (size_t i = 0; i < found->size(); ++i) {
    server_ = (*found)[i];
    status = co_await open_first_lane(server_);
    // Who refuses us at one address does so at the next.
    if (!status.is(StatusCode::unavailable) && !status.is(StatusCode::timed_out)) break;
  }
  if (status.ok() && session_ == nullptr) co_return std::unique_ptr<Session>();
  for (uint16_t lane = 1; status.ok() && lane < lanes_; ++lane) {
    status = co_await open_lane(lane);
  }
  if (status.ok()) status = session_->start();
  if (!status.ok()) co_return fail(status.with(options_.address));
  co_return std::unique_ptr<Session>(std::move(session_));
}

Task<Result<std::vector<SocketAddress>>> TcpConnect::look_up(TcpAddress address) {
  auto numeric = resolve(address, Resolve::numeric_only);
  if (numeric.has_value()) co_return std::move(*numeric);
  Await done;
  const LookUpHandle handle(LookUp::start(loop_, worker_, std::move(address), done.done()));
  Timer timer;
  struct TimeUp {
    Loop& loop;
    LookUp* look_up;
    void on_fired(Completion&) {
      if (look_up->waiter == nullptr || look_up->over) return;
      loop.complete(*std::exchange(look_up->waiter, nullptr),
                    Status(StatusCode::timed_out, "the name was not resolved in time"));
    }
  } time_up{loop_, handle.look_up};
  timer.bind<&TimeUp::on_fired>(&time_up);
  loop_.start_at(timer, deadline_ns_);
  const Status status = co_await done;
  if (!status.ok()) co_return fail(status);
  co_return handle.look_up->found;
}

Status TcpConnect::bind_address(const SocketAddress& to, SocketAddress* from, bool* bound) const {
  *bound = false;
  if (options_.local_address.empty()) return {};
  GD2FS_ASSIGN(TcpAddress local, parse_tcp_address(options_.local_address));
  local.port = 0;
  const auto addresses = resolve(local, Resolve::numeric_only);
  if (!addresses.has_value()) {
    return {StatusCode::invalid, options_.local_address + ": not the address of a NIC"};
  }
  *from = addresses->front();
  // A loopback address means "any", but on the way to another one, where it is as good as a NIC's;
  // an address of another family cannot reach this peer.
  const bool inside = to.is_loopback() && to.family() == from->family();
  if ((from->is_loopback() && !inside) || from->is_any()) return {};
  if (from->family() != to.family()) {
    return {StatusCode::unavailable, options_.local_address + ": cannot reach " + to.to_string()};
  }
  *bound = true;
  return {};
}

Task<Result<TcpSocket>> TcpConnect::reach(SocketAddress to, uint64_t deadline_ns) {
  SocketAddress from;
  bool bound = false;
  Status status = bind_address(to, &from, &bound);
  if (!status.ok()) co_return fail(status);
  auto socket = TcpSocket::connect(to, bound ? &from : nullptr);
  if (!socket.has_value()) co_return fail(socket.error());
  TcpGreeting greeting(loop_, std::move(*socket));
  const GreetingDeadline deadline(loop_, greeting, deadline_ns);
  Await connected;
  greeting.wait_connected(connected.done());
  status = co_await connected;
  if (!status.ok()) co_return fail(status);
  co_return greeting.take();
}

HelloFacts TcpConnect::hello_facts() const {
  HelloFacts hello;
  hello.role = static_cast<uint8_t>(options_.role);
  hello.cluster = options_.cluster;
  hello.incarnation = options_.incarnation;
  hello.lanes = static_cast<uint16_t>(lanes_);
  return hello;
}

Task<Status> greet_server(TcpGreeting* greeting, HelloFacts hello, std::string key, bool insecure,
                          Greeted* out) {
  ClientHandshake handshake(std::move(hello), std::move(key), insecure);
  Status status = greeting->say(FrameKind::message, msg::Type::hello, handshake.hello_body());
  if (!status.ok()) co_return status;
  Await heard;
  greeting->hear(heard.done());
  status = co_await heard;
  if (status.ok()) status = check_greeting_reply(*greeting, msg::Type::challenge);
  if (!status.ok()) co_return status;
  const auto proof = handshake.on_challenge(greeting->body());
  if (!proof.has_value()) co_return proof.error();
  status = greeting->say(FrameKind::message, msg::Type::proof, *proof);
  if (!status.ok()) co_return status;
  greeting->hear(heard.done());
  status = co_await heard;
  if (status.ok()) status = check_greeting_reply(*greeting, msg::Type::welcome);
  if (!status.ok()) co_return status;
  const auto* welcome = open_body<msg::Welcome>(greeting->body());
  if (welcome != nullptr) out->same_host_directory = text_of(welcome->same_host_directory());
  if (welcome == nullptr || (welcome->session() == 0) == out->same_host_directory.empty()) {
    co_return Status(StatusCode::invalid, "handshake: malformed welcome");
  }
  out->server = handshake.server();
  out->session_key = handshake.session_key();
  out->session_number = welcome->session();
  out->eager_max_bytes = welcome->eager_max_bytes();
  co_return Status();
}

Task<Status> TcpConnect::open_first_lane(SocketAddress to) {
  auto socket = co_await reach(to, deadline_ns_);
  if (!socket.has_value()) co_return socket.error();
  TcpGreeting greeting(loop_, std::move(*socket));
  const GreetingDeadline deadline(loop_, greeting, deadline_ns_);
  HelloFacts hello = hello_facts();
  hello.boot_id = boot_id_;
  Greeted greeted;
  const Status status =
      co_await greet_server(&greeting, std::move(hello), options_.key, options_.insecure, &greeted);
  if (!status.ok()) co_return status;
  same_host_directory_ = std::move(greeted.same_host_directory);
  if (!same_host_directory_.empty()) co_return Status();
  Peer peer;
  peer.role = PeerRole::server;
  peer.server_id = greeted.server.server_id;
  peer.incarnation = greeted.server.incarnation;
  peer.address = to.to_string();
  const Status begun = co_await begin_session(&greeting, std::move(peer), &greeted);
  co_return begun;
}

Task<Status> TcpConnect::begin_session(TcpGreeting* greeting, Peer peer, Greeted* greeted) {
  session_ = std::make_unique<TcpSession>(loop_, tcp_, std::move(peer), greeted->session_number,
                                          lanes_, std::move(greeted->session_key));
  session_->set_events(options_.events);
  session_->set_eager_max_bytes(greeted->eager_max_bytes);
  co_return session_->add_lane(0, greeting->take());
}

Task<Status> TcpConnect::open_lane(uint16_t lane) {
  auto socket = co_await reach(server_, deadline_ns_);
  if (!socket.has_value()) co_return socket.error();
  TcpGreeting greeting(loop_, std::move(*socket));
  const GreetingDeadline deadline(loop_, greeting, deadline_ns_);
  HelloFacts hello = hello_facts();
  hello.session = session_->number();
  hello.lane = lane;
  Greeted greeted;
  const Status status = co_await greet_server(&greeting, std::move(hello), session_->session_key(),
                                              options_.insecure, &greeted);
  if (!status.ok()) co_return status;
  co_return session_->add_lane(lane, greeting.take());
}

}  // namespace gd2fs
