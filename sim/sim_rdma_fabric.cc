#include "sim/sim_rdma_fabric.h"

#include <algorithm>

namespace gd2fs {
namespace {

constexpr std::string_view kScheme = "rdma://";
constexpr auto kQueuePair = static_cast<uint16_t>(msg::Type::queue_pair);

}  // namespace

// One end of a session of the simulated network, over which the ends of a queue pair tell where
// they are: each side says one thing and hears one.
class SimRdmaFabric::Greeting final : public SessionEvents, public ListNode<> {
 public:
  explicit Greeting(Loop& loop) : loop_(loop) { late_.bind<&Greeting::on_late>(this); }
  void hold(std::unique_ptr<Session> session) { session_ = std::move(session); }
  Session& session() { return *session_; }
  bool open() const { return session_ != nullptr && session_->open(); }
  // Completes with what the peer has said, or why it says nothing.
  Await& heard_by(uint64_t deadline_ns) {
    loop_.start_at(late_, deadline_ns);
    return heard_;
  }
  ConstBytes body() const { return body_; }
  uint64_t request_id() const { return request_id_; }
  std::unique_ptr<Session> take() { return std::move(session_); }

 private:
  void on_message(Session&, const Message& message) override { hear(message); }
  void on_reply(Session&, const Message& reply) override { hear(reply); }
  void on_closed(Session&, const Status& reason) override { end(reason); }
  void on_late(Completion&) { end(Status(StatusCode::timed_out, "handshake: too slow")); }
  void hear(const Message& message) {
    if (message.type != kQueuePair) return end(Status(StatusCode::invalid, "no queue pair"));
    body_.assign(message.body.begin(), message.body.end());
    request_id_ = message.request_id;
    end(Status());
  }
  void end(const Status& status) {
    if (std::exchange(over_, true)) return;
    loop_.cancel(late_);
    loop_.complete(heard_.done(), status);
  }

  Loop& loop_;
  std::unique_ptr<Session> session_;
  Timer late_;
  Await heard_;
  bool over_ = false;
  std::vector<std::byte> body_;
  uint64_t request_id_ = 0;
};

class SimRdmaFabric::Lifeline final : public RdmaLifeline, private SessionEvents {
 public:
  explicit Lifeline(std::unique_ptr<Session> session) : session_(std::move(session)) {
    session_->set_events(this);
  }
  Status start(Owner& owner) override {
    owner_ = &owner;
    return session_->open() ? Status() : Status(StatusCode::unavailable, "the peer has gone");
  }

 private:
  void on_message(Session&, const Message&) override {}
  void on_reply(Session&, const Message&) override {}
  void on_closed(Session&, const Status&) override {
    if (owner_ != nullptr) owner_->on_peer_gone();
  }
  std::unique_ptr<Session> session_;
  Owner* owner_ = nullptr;
};

void SimRdmaSession::die() {
  dead_ = true;
  session_->close(Status(StatusCode::canceled, "killed"));
}

// --- the listening side ---

class SimRdmaListener final : public Listener {
 public:
  SimRdmaListener(SimRdmaFabric& fabric, uint64_t timeout_ns, OnSession on_session)
      : fabric_(fabric),
        timeout_ns_(timeout_ns),
        on_session_(std::move(on_session)),
        tasks_(fabric.loop_) {}
  void hold(std::unique_ptr<Listener> network) { network_ = std::move(network); }
  std::string address() const override { return network_->address(); }

  void welcome(std::unique_ptr<Session> session) {
    auto greeting = std::make_unique<SimRdmaFabric::Greeting>(fabric_.loop_);
    session->set_events(greeting.get());
    greeting->hold(std::move(session));
    tasks_.spawn(greet(std::move(greeting)));
  }

 private:
  Task<void> greet(std::unique_ptr<SimRdmaFabric::Greeting> greeting) {
    Await& heard = greeting->heard_by(fabric_.loop_.now_ns() + timeout_ns_);
    Status status = co_await heard;
    std::unique_ptr<SimRdmaSession> session;
    if (status.ok()) status = co_await fabric_.join_server(greeting.get(), &session);
    if (!status.ok()) co_return;  // the client learns it by the end of the greeting's session
    SimRdmaSession* const given = session.get();
    on_session_(std::move(session));
    // Its owner may have ended it at once.
    bool there = false;
    for (SimRdmaSession* each = fabric_.sessions_.front(); each != nullptr;
         each = fabric_.sessions_.next(*each)) {
      there = there || each == given;
    }
    if (!there) co_return;
    status = given->start();
    if (!status.ok()) given->close(status);
  }

  SimRdmaFabric& fabric_;
  const uint64_t timeout_ns_;
  OnSession on_session_;
  std::unique_ptr<Listener> network_;
  TaskGroup tasks_;  // before the rest
};

Task<Status> SimRdmaFabric::join_server(Greeting* greeting, std::unique_ptr<SimRdmaSession>* out) {
  const Result<RdmaPeer> theirs = open_queue_pair(greeting->body());
  if (!theirs.has_value()) co_return theirs.error();
  Result<std::unique_ptr<RdmaQueue>> queue = co_await make_rdma_queue(&loop_, shared_);
  if (!queue.has_value()) co_return queue.error();
  if (!greeting->open()) co_return Status(StatusCode::unavailable, "the client has gone");
  const std::vector<std::byte> ours = pack_queue_pair(**queue);
  Status status = (*queue)->join(*port_, *theirs);
  if (!status.ok()) co_return status;
  Peer peer = greeting->session().peer();
  auto session = std::make_unique<RdmaServerSession>(loop_, options_, std::move(peer), 1,
                                                     std::string(), shared_, std::move(*queue));
  status = greeting->session().reply(kQueuePair, greeting->request_id(), ours);
  if (status.ok()) status = session->join(std::make_unique<Lifeline>(greeting->take()));
  if (status.ok()) *out = keep(std::move(session));
  co_return status;
}

// --- the fabric ---

SimRdmaFabric::SimRdmaFabric(SimFabric& network, Loop& loop, SimNics& nics, int device)
    : network_(network), loop_(loop), nics_(nics), device_(device) {
  auto nic = verbs::Nic::open(SimNics::address(device));
  CHECK(nic.has_value());
  auto port = RdmaPort::open(loop, *nic);
  CHECK(port.has_value());
  port_ = std::move(*port);
  memory_.add_nic(*nic);
  CHECK(port_->start().ok());
  shared_.port = port_;
  shared_.memory = &memory_;
  shared_.worker = &worker_;
  shared_.closing = closing_;
}

SimRdmaFabric::~SimRdmaFabric() {
  // What the worker has done waits on the loop, and owns itself until it is told.
  while (loop_.has_completions()) (void)loop_.run_queued();
  CHECK(*closing_ == 0);
  nics_.ended_counters() += counters();
}

std::unique_ptr<SimRdmaSession> SimRdmaFabric::keep(std::unique_ptr<RdmaSession> session) {
  auto kept = std::make_unique<SimRdmaSession>(nics_, std::move(session));
  sessions_.push_back(*kept);
  return kept;
}

void SimRdmaFabric::kill() {
  while (SimRdmaSession* session = sessions_.pop_front()) session->die();
}

Result<std::unique_ptr<Listener>> SimRdmaFabric::listen(const std::string& address,
                                                        ListenOptions options,
                                                        OnSession on_session) {
  if (!address.starts_with(kScheme)) {
    return network_.listen(address, std::move(options), std::move(on_session));
  }
  auto listener =
      std::make_unique<SimRdmaListener>(*this, options.handshake_timeout_ns, std::move(on_session));
  OnSession welcome = [to = listener.get()](std::unique_ptr<Session> session) {
    to->welcome(std::move(session));
  };
  GD2FS_ASSIGN(auto network, network_.listen(address, std::move(options), std::move(welcome)));
  listener->hold(std::move(network));
  return listener;
}

Task<Result<std::unique_ptr<Session>>> SimRdmaFabric::connect(ConnectOptions options) {
  if (!options.address.starts_with(kScheme)) {
    Result<std::unique_ptr<Session>> session = co_await network_.connect(std::move(options));
    co_return session;
  }
  const uint64_t deadline_ns = loop_.now_ns() + options.timeout_ns;
  SessionEvents* const events = options.events;
  const std::string address = options.address;
  Greeting greeting(loop_);
  options.events = &greeting;
  options.lanes = 1;
  Result<std::unique_ptr<Session>> network = co_await network_.connect(std::move(options));
  if (!network.has_value()) co_return fail(network.error());
  greeting.hold(std::move(*network));
  std::unique_ptr<SimRdmaSession> session;
  const Status status = co_await join_client(&greeting, events, deadline_ns, &session);
  if (!status.ok()) co_return fail(status.with(address));
  co_return std::unique_ptr<Session>(std::move(session));
}

Task<Status> SimRdmaFabric::join_client(Greeting* greeting, SessionEvents* events,
                                        uint64_t deadline_ns,
                                        std::unique_ptr<SimRdmaSession>* out) {
  Result<std::unique_ptr<RdmaQueue>> queue = co_await make_rdma_queue(&loop_, shared_);
  if (!queue.has_value()) co_return queue.error();
  if (!greeting->open()) co_return Status(StatusCode::unavailable, "the server has gone");
  Session& network = greeting->session();
  Status status = network.send(kQueuePair, network.next_request_id(), pack_queue_pair(**queue));
  if (!status.ok()) co_return status;
  Await& heard = greeting->heard_by(deadline_ns);
  status = co_await heard;
  if (!status.ok()) co_return status;
  const Result<RdmaPeer> theirs = open_queue_pair(greeting->body());
  if (!theirs.has_value()) co_return theirs.error();
  status = (*queue)->join(*port_, *theirs);
  if (status.ok()) status = co_await prove_rdma_queue(&loop_, queue->get(), deadline_ns);
  if (status.ok() && !greeting->open()) {
    status = Status(StatusCode::unavailable, "the server has gone");
  }
  if (!status.ok()) {
    co_await end_rdma_queue(&loop_, shared_, std::move(*queue));
    co_return status;
  }
  Peer peer = greeting->session().peer();
  auto session = std::make_unique<RdmaClientSession>(loop_, options_, std::move(peer), 1,
                                                     std::string(), shared_, std::move(*queue));
  status = session->join(std::make_unique<Lifeline>(greeting->take()));
  if (!status.ok()) co_return status;
  *out = keep(std::move(session));
  (*out)->set_events(events);
  co_return (*out)->start();
}

}  // namespace gd2fs
