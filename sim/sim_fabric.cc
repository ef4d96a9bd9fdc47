#include "sim/sim_fabric.h"

#include <algorithm>
#include <utility>

namespace gd2fs {
namespace {

struct SimAddress {
  std::string scheme;
  std::string host;
  uint32_t port = 7527;
};

Result<SimAddress> parse(const std::string& text) {
  SimAddress address;
  const size_t scheme_end = text.find("://");
  if (scheme_end == std::string::npos) return fail(StatusCode::invalid, text + ": no scheme");
  address.scheme = text.substr(0, scheme_end);
  address.host = text.substr(scheme_end + 3);
  const size_t colon = address.host.find(':');
  if (colon == std::string::npos) return address;
  address.port = 0;
  for (size_t i = colon + 1; i < address.host.size(); ++i) {
    const char digit = address.host[i];
    if (digit < '0' || digit > '9') return fail(StatusCode::invalid, text + ": port");
    address.port = address.port * 10 + static_cast<uint32_t>(digit - '0');
    if (address.port > 65535) return fail(StatusCode::invalid, text + ": port");
  }
  address.host.resize(colon);
  return address;
}

}  // namespace

class SimListener final : public Listener {
 public:
  SimListener(SimNetwork& network, std::string node, uint64_t life, Loop& loop, std::string key,
              std::string address, ListenOptions options, OnSession on_session)
      : network_(network),
        node_(std::move(node)),
        life_(life),
        loop_(loop),
        key_(std::move(key)),
        address_(std::move(address)),
        options_(std::move(options)),
        on_session_(std::move(on_session)) {
    network_.listeners_.emplace(key_, this);
  }
  ~SimListener() override {
    const auto found = network_.listeners_.find(key_);
    if (found != network_.listeners_.end() && found->second == this) {
      network_.listeners_.erase(found);
    }
  }
  std::string address() const override { return address_; }
  uint64_t life() const { return life_; }
  const std::string& node() const { return node_; }

  // On the listener's loop: a client knocks.
  void on_connect(uint64_t connect_id, const std::string& from, uint64_t from_life,
                  const ConnectOptions& hello);

 private:
  Status admit(const ConnectOptions& hello) const;
  std::unique_ptr<SimSession> make_session(SimLink& link, const std::string& from,
                                           const ConnectOptions& hello);

  SimNetwork& network_;
  std::string node_;
  uint64_t life_;
  Loop& loop_;
  std::string key_;
  std::string address_;
  ListenOptions options_;
  OnSession on_session_;
};

// One connect() that is waited for.
struct SimConnect {
  SimConnect(SimNetwork& owner, Loop& loop_in) : network(owner), loop(loop_in) {
    id = network.next_connect_++;
    network.connects_.emplace(id, this);
    timeout.bind<&SimConnect::on_timeout>(this);
  }
  ~SimConnect() { network.connects_.erase(id); }
  void end(Status status) {
    if (over) return;
    over = true;
    loop.cancel(timeout);
    loop.complete(ended.done(), std::move(status));
  }
  void on_timeout(Completion&) { end(Status(StatusCode::timed_out, "connect: no answer")); }

  SimNetwork& network;
  Loop& loop;
  uint64_t id = 0;
  bool over = false;
  Timer timeout;
  Await ended;
  std::unique_ptr<SimSession> session;
};

Status SimListener::admit(const ConnectOptions& hello) const {
  if (options_.insecure) return {};
  const auto keys = options_.keys ? options_.keys(hello.role, hello.role == PeerRole::client
                                                                  ? std::string_view(hello.cluster)
                                                                  : std::string_view())
                                  : std::vector<std::string>();
  if (!hello.insecure && std::ranges::find(keys, hello.key) != keys.end()) return {};
  return {StatusCode::denied, address_ + ": the token was refused"};
}

std::unique_ptr<SimSession> SimListener::make_session(SimLink& link, const std::string& from,
                                                      const ConnectOptions& hello) {
  Peer peer;
  peer.role = hello.role;
  if (hello.role == PeerRole::client) peer.cluster = hello.cluster;
  peer.incarnation = hello.incarnation;
  peer.address = "sim://" + from;
  return std::make_unique<SimSession>(network_, link, 1, loop_, std::move(peer));
}

void SimListener::on_connect(uint64_t connect_id, const std::string& from, uint64_t from_life,
                             const ConnectOptions& hello) {
  SimNetwork& network = network_;  // on_session may destroy this listener
  Status status = admit(hello);
  uint32_t open_here = 0;
  for (const auto& link : network_.links_) {
    if (link->nodes[1] == node_ && link->ends[1] != nullptr) ++open_here;
  }
  if (status.ok() && open_here >= options_.sessions_max) {
    status = Status(StatusCode::busy, address_ + ": sessions_max reached");
  }
  if (!status.ok()) {
    network.send_packet(node_, from, from_life, [&network, connect_id, status] {
      const auto found = network.connects_.find(connect_id);
      if (found != network.connects_.end()) found->second->end(status);
    });
    return;
  }
  const bool ghost = network.random_.chance(network.faults.ghost_per_million, 1'000'000);
  const uint32_t lanes = std::clamp<uint32_t>(hello.lanes, 1, kLanesMax);
  SimLink& link = network.add_link(from, node_, lanes);
  Peer server;
  server.role = PeerRole::server;
  server.server_id = options_.server_id;
  server.incarnation = options_.incarnation;
  server.address = address_;
  std::unique_ptr<SimSession> session = make_session(link, from, hello);
  SimSession* accepted = session.get();
  SimNetwork::Node* client = network.find_node(from, from_life);
  if (client == nullptr || ghost) {
    // Nobody is (or stays) at the other end: a first attempt that its client has given up.
    network.detach(link, 0);
  } else {
    auto client_end = std::make_shared<std::unique_ptr<SimSession>>(
        std::make_unique<SimSession>(network, link, 0, *client->loop, std::move(server)));
    network.send_packet(node_, from, from_life, [&network, connect_id, client_end] {
      const auto found = network.connects_.find(connect_id);
      if (found == network.connects_.end() || found->second->over) return;  // given up: it closes
      found->second->session = std::move(*client_end);
      found->second->end(Status());
    });
  }
  if (ghost) {
    network.send_packet(from, node_, life_,
                        [&network, key = key_, life = life_, connect_id, from, from_life, hello] {
                          const auto found = network.listeners_.find(key);
                          if (found == network.listeners_.end() || found->second->life() != life)
                            return;
                          found->second->on_connect(connect_id, from, from_life, hello);
                        });
  }
  const OnSession on_session = on_session_;
  on_session(std::move(session));
  accepted->start();
}

SimFabric::SimFabric(SimNetwork& network, std::string node, Loop& loop)
    : network_(network), node_(std::move(node)), loop_(loop) {
  life_ = network_.add_node(node_, loop_);
}

SimFabric::~SimFabric() {
  network_.remove_node(node_, life_);
}

Result<std::unique_ptr<Listener>> SimFabric::listen(const std::string& address,
                                                    ListenOptions options, OnSession on_session) {
  GD2FS_ASSIGN(SimAddress parsed, parse(address));
  SimNetwork::Node* node = network_.find_node(node_, life_);
  CHECK(node != nullptr);
  if (parsed.port == 0) parsed.port = node->next_port++;
  const std::string key = node_ + ":" + std::to_string(parsed.port);
  if (network_.listeners_.contains(key)) {
    return fail(Status::from_errno(EADDRINUSE, "listen " + address));
  }
  return std::make_unique<SimListener>(network_, node_, life_, loop_, key,
                                       parsed.scheme + "://" + key, std::move(options),
                                       std::move(on_session));
}

Task<Result<std::unique_ptr<Session>>> SimFabric::connect(ConnectOptions options) {
  auto parsed = parse(options.address);
  if (!parsed.has_value()) co_return fail(parsed.error());
  SimConnect connect(network_, loop_);
  loop_.start(connect.timeout, options.timeout_ns);
  network_.knock(connect.id, node_, life_, parsed->host + ":" + std::to_string(parsed->port),
                 parsed->host, options);
  Status status = co_await connect.ended;
  if (!status.ok()) co_return fail(status.with(options.address));
  std::unique_ptr<SimSession> session = std::move(connect.session);
  if (options.events != nullptr) session->set_events(options.events);
  session->start();
  co_return std::unique_ptr<Session>(std::move(session));
}

void SimNetwork::knock(uint64_t connect_id, const std::string& from, uint64_t from_life,
                       const std::string& listener, const std::string& to,
                       const ConnectOptions& hello) {
  const auto refuse = [this, connect_id, from, from_life, to](std::string_view why) {
    send_packet(to, from, from_life, [this, connect_id, text = std::string(why)] {
      const auto found = connects_.find(connect_id);
      if (found == connects_.end()) return;
      found->second->end(Status(StatusCode::unavailable, text, ECONNREFUSED));
    });
  };
  const auto node = nodes_.find(to);
  if (node == nodes_.end()) return refuse("the host is down");
  if (random_.chance(faults.refuse_per_million, 1'000'000)) return refuse("connection refused");
  send_packet(from, to, node->second->life,
              [this, refuse, listener, connect_id, from, from_life, hello] {
                const auto found = listeners_.find(listener);
                if (found == listeners_.end()) return refuse("connection refused");
                found->second->on_connect(connect_id, from, from_life, hello);
              });
}

}  // namespace gd2fs
