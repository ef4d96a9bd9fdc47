#include "server/server.h"

#include "base/log.h"

namespace gd2fs::server {
namespace {
constexpr uint64_t kSweepNs = kSecond;
}

Server::Server(Loop& loop, Store& store, Fabric& fabric, Random random,
               const ServerOptions& options)
    : state_(loop, store, options), fabric_(fabric), registration_(state_, fabric, *this, random) {
  CHECK(state_.options.incarnation != 0 && !state_.options.controllers.empty());
  sweep_.bind<&Server::on_sweep>(this);
}

Server::~Server() = default;

void Server::start() {
  registration_.start();
  state_.loop.start(sweep_, kSweepNs);
}

Task<void> Server::stop() {
  stopping_ = true;
  listeners_.clear();
  for (Connection& each : connections_) {
    each.close(Status(StatusCode::unavailable, "the server stops"));
  }
  co_await registration_.stop();
  if (!connections_.empty()) {
    Await emptied;
    emptied.done().start();
    emptied_ = &emptied;
    const Status status = co_await emptied;
    CHECK(status.ok());
  }
  state_.loop.cancel(sweep_);
}

std::vector<std::string> Server::addresses() const {
  std::vector<std::string> addresses;
  addresses.reserve(listeners_.size());
  for (const auto& listener : listeners_) addresses.push_back(listener->address());
  return addresses;
}

std::vector<NamedValue> Server::metrics() const {
  return export_counters(state_.counters, state_.store.stats(), state_.lease.held());
}

Result<std::unique_ptr<Listener>> Server::listen_at(const std::string& address) {
  const ServerOptions& options = state_.options;
  ListenOptions listen;
  listen.server_id = registration_.server_id();
  listen.incarnation = options.incarnation;
  listen.deployment_id = options.deployment_id;
  listen.keys = [this](PeerRole role, std::string_view cluster) { return keys(role, cluster); };
  listen.insecure = options.insecure;
  listen.sessions_max = options.sessions_max;
  listen.same_host_directory = options.same_host_directory;
  if (!listen.same_host_directory.empty() && !listeners_.empty()) {
    listen.same_host_directory += "-" + std::to_string(listeners_.size());  // each has its own
  }
  return fabric_.listen(address, std::move(listen),
                        [this](auto session) { on_session(std::move(session)); });
}

Result<std::vector<std::string>> Server::begin_listening() {
  const ServerOptions& options = state_.options;
  for (const std::string& address : options.listen) {
    auto listener = listen_at(address);
    if (!listener.has_value() && options.any_port && address.starts_with("tcp://")) {
      auto elsewhere = listen_at(address.substr(0, address.rfind(':')) + ":0");
      if (elsewhere.has_value()) {
        GD2FS_LOG_WARN("{}; listening on {} instead", listener.error().to_string(),
                       (*elsewhere)->address());
        listener = std::move(elsewhere);
      }
    }
    if (!listener.has_value()) {
      listeners_.clear();
      return fail(listener.error().with("listen " + address));
    }
    listeners_.push_back(std::move(*listener));
  }
  return options.advertise.empty() ? addresses() : options.advertise;
}

// Only clients have business here.
std::vector<std::string> Server::keys(PeerRole role, std::string_view cluster) const {
  if (role != PeerRole::client) return {};
  return state_.authority.tokens(cluster);
}

void Server::on_session(std::unique_ptr<Session> session) {
  const Peer& peer = session->peer();
  const uint16_t cluster_id =
      peer.role == PeerRole::client ? state_.authority.cluster_id(peer.cluster) : 0;
  Connection& connection = connections_.emplace_back(state_, *this, std::move(session), cluster_id);
  if (connections_.size() > state_.options.sessions_max) {
    connection.close(Status(StatusCode::busy, "sessions_max"));
  } else if (cluster_id == 0) {
    connection.close(Status(StatusCode::denied, "no such cluster"));
  } else if (stopping_) {
    connection.close(Status(StatusCode::unavailable, "the server stops"));
  }
}

void Server::connection_ended(Connection& connection) {
  connections_.remove_if([&](const Connection& each) { return &each == &connection; });
  if (!connections_.empty() || emptied_ == nullptr) return;
  state_.loop.complete(std::exchange(emptied_, nullptr)->done(), Status());
}

void Server::clusters_changed() {
  for (Connection& each : connections_) {
    if (state_.authority.has_cluster(each.cluster_id())) continue;
    each.close(Status(StatusCode::denied, "the cluster was removed"));
  }
}

void Server::list_sessions(size_t sessions_max,
                           std::vector<std::unique_ptr<msg::SessionInfoT>>* out) {
  for (Connection& each : connections_) {
    if (out->size() >= sessions_max) return;
    auto& info = out->emplace_back(std::make_unique<msg::SessionInfoT>());
    info->address = each.session().peer().address;
    info->cluster = each.session().peer().cluster;
    info->path = each.session().path();
  }
}

void Server::on_sweep(Completion&) {
  for (Connection& each : connections_) {
    each.check_stall();
  }
  state_.loop.start(sweep_, kSweepNs);
}

}  // namespace gd2fs::server
