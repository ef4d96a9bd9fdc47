#include "controller/controller.h"

#include "base/log.h"
#include "controller/dispatch.h"
#include "fabric/reply.h"
#include "wire/token.h"

namespace gd2fs::controller {
namespace {
constexpr uint64_t kSpreadRetryNs = 10 * kMs;
constexpr uint64_t kExpireEveryUs = 600ull * 1000 * 1000;
}  // namespace

Controller::Controller(Loop& loop, MetaStore& store, Fabric& fabric, ControllerOptions options)
    : loop_(loop),
      store_(store),
      fabric_(fabric),
      options_(std::move(options)),
      started_us_(loop.clock().wall_us()),
      membership_(loop, store, options_),
      capability_keys_(store, options_.make_secret),
      operations_(loop),
      background_(loop) {
  CHECK(options_.incarnation != 0 && options_.make_secret != nullptr);
  CHECK(options_.capability_ttl_ns / kUs <= kCapabilityTtlMaxUs);
  tidy_timer_.bind<&Controller::on_tidy>(this);
}

Controller::~Controller() = default;

Task<Result<std::unique_ptr<Controller>>> Controller::open(Loop& loop, MetaStore& store,
                                                           Fabric& fabric,
                                                           ControllerOptions options) {
  std::unique_ptr<Controller> controller(new Controller(loop, store, fabric, std::move(options)));
  GD2FS_CO_TRY(co_await controller->start());
  co_return controller;
}

Task<Status> Controller::open_names() {
  GD2FS_CO_ASSIGN(auto names, co_await Namespace::open(loop_, store_));
  fencing_.reset();
  clusters_.reset();
  names_ = std::move(names);
  clusters_ = std::make_unique<Clusters>(*names_);
  fencing_ = std::make_unique<Fencing>(loop_, *names_, membership_, background_, options_);
  co_return co_await clusters_->reload();
}

Task<Status> Controller::start() {
  GD2FS_CO_TRY(co_await open_names());
  GD2FS_CO_TRY(co_await membership_.open());
  GD2FS_CO_TRY(co_await capability_keys_.open(loop_.clock().wall_us()));
  GD2FS_CO_TRY(listen());
  background_.spawn(tidy());
  loop_.start(tidy_timer_, options_.tidy_ns);
  co_return Status();
}

Status Controller::listen() {
  for (const std::string& address : options_.listen) {
    ListenOptions listen;
    listen.incarnation = options_.incarnation;
    listen.deployment_id = options_.deployment_id;
    listen.insecure = options_.insecure;
    listen.sessions_max = options_.sessions_max;
    listen.keys = [this](PeerRole role, std::string_view cluster) {
      if (role == PeerRole::client) return clusters_->keys(cluster);
      return std::vector<std::string>{options_.deployment_secret};
    };
    auto listener = fabric_.listen(address, std::move(listen),
                                   [this](auto session) { on_session(std::move(session)); });
    if (!listener.has_value()) return listener.error().with("listen " + address);
    listeners_.push_back(std::move(*listener));
  }
  return {};
}

Task<void> Controller::stop() {
  stopping_ = true;
  listeners_.clear();
  loop_.cancel(tidy_timer_);
  fencing_->stop();
  for (const auto& connection : connections_) {
    connection->close(Status(StatusCode::unavailable, "the controller stops"));
  }
  co_await operations_.idle();
  co_await background_.idle();
}

std::vector<std::string> Controller::addresses() const {
  std::vector<std::string> addresses;
  addresses.reserve(listeners_.size());
  for (const auto& listener : listeners_) addresses.push_back(listener->address());
  return addresses;
}

bool Controller::serving() const {
  for (const auto& member : membership_.members()) {
    if (membership_.serving(*member)) return true;
  }
  return false;
}

std::string Controller::make_token() {
  std::string key(kTokenKeyBytes, '\0');
  options_.make_secret(as_writable_bytes(key.data(), key.size()));
  return token_from_key(key);
}

Task<Result<Cluster>> Controller::create_cluster(std::string name) {
  auto found = co_await names_->find_cluster(name);
  if (found.has_value() || !found.error().is(StatusCode::not_found)) co_return found;
  // One of our own making: its tag is never retried.
  MutationTag tag;
  options_.make_secret(as_writable_bytes(&tag.incarnation, sizeof tag.incarnation));
  tag.sequence = 1;
  tag.low = 1;
  GD2FS_CO_ASSIGN(Cluster cluster, co_await names_->create_cluster(name, {}, make_token(), tag));
  GD2FS_CO_TRY(co_await spread_keys());
  co_return cluster;
}

std::vector<std::pair<std::string, double>> Controller::metrics() const {
  const auto number = [](uint64_t value) { return static_cast<double>(value); };
  return {
      {"gd2fs_controller_sessions", number(connections_.size())},
      {"gd2fs_controller_sessions_total", number(counters_.sessions_total)},
      {"gd2fs_controller_requests", number(requests_)},
      {"gd2fs_controller_requests_total", number(counters_.requests_total)},
      {"gd2fs_controller_errors_total", number(counters_.errors_total)},
      {"gd2fs_controller_busy_total", number(counters_.busy_total)},
      {"gd2fs_controller_malformed_total", number(counters_.malformed_total)},
      {"gd2fs_controller_clusters", number(clusters_->all().size())},
      {"gd2fs_controller_map_version", number(membership_.map_version())},
      {"gd2fs_controller_serving", serving() ? 1.0 : 0.0},
  };
}

// --- sessions and requests ---

void Controller::on_session(std::unique_ptr<Session> session) {
  const Peer& peer = session->peer();
  uint16_t cluster_id = 0;
  if (peer.role == PeerRole::client) {
    if (const Cluster* cluster = clusters_->find(peer.cluster)) cluster_id = cluster->id;
  }
  const bool stranger = peer.role == PeerRole::client && cluster_id == 0;
  auto connection = std::make_shared<Connection>(*this, std::move(session), cluster_id);
  connections_.push_back(connection);
  ++counters_.sessions_total;
  if (stranger) {
    connection->close(Status(StatusCode::denied, "no such cluster"));
  } else if (stopping_ || connections_.size() > options_.sessions_max) {
    connection->close(Status(StatusCode::busy, "sessions_max"));
  }
}

void Controller::on_connection_closed(Connection& connection) {
  if (connection.server_id != 0) membership_.disconnected(connection);
  connections_.remove_if([&](const auto& each) { return each.get() == &connection; });
}

void Controller::refuse(const std::shared_ptr<Connection>& connection, const Message& message,
                        const Status& why) {
  if (why.is(StatusCode::busy)) ++counters_.busy_total;
  if (why.is(StatusCode::invalid)) {
    ++counters_.malformed_total;
    GD2FS_LOG_WARN("session closed: {} of type {} from {}", why.text(), message.type,
                   connection->peer().address);
    return connection->close(why);
  }
  connection->begin_request();
  connection->end_request(message.request_id, msg::Type::error, fail(why));
}

void Controller::on_request(const std::shared_ptr<Connection>& connection, const Message& message) {
  if (message.request_id == 0) return;  // nothing here is one-way
  if (requests_ >= options_.requests_max ||
      connection->requests() >= options_.session_requests_max) {
    return refuse(connection, message, Status(StatusCode::busy, "too many requests in flight"));
  }
  auto operation = start_operation({this, connection}, message);
  if (!operation.has_value()) return refuse(connection, message, operation.error());
  ++requests_;
  ++counters_.requests_total;
  connection->begin_request();
  operations_.spawn(run(connection, message.request_id, static_cast<msg::Type>(message.type),
                        std::move(*operation)));
}

Task<void> Controller::run(std::shared_ptr<Connection> connection, uint64_t request_id,
                           msg::Type type, Task<Answer> operation) {
  const Answer answer = co_await operation;
  --requests_;
  if (!answer.has_value()) {
    ++counters_.errors_total;
    if (answer.error().is(StatusCode::busy)) ++counters_.busy_total;
  }
  connection->end_request(request_id, type, answer);
}

Task<Status> Controller::load_lines(std::vector<std::string> lines) {
  if (load_.failed) co_return Status(StatusCode::unavailable, "a load failed: begin with new data");
  if (!load_.load.has_value()) {
    // The parts that know the old names must be idle when the new ones come.
    if (requests_ > 1 || background_.running() > 0) {
      co_return Status(StatusCode::busy, "requests are being served");
    }
    GD2FS_CO_ASSIGN(MetaLoad begun, co_await MetaLoad::begin(store_));
    load_.load.emplace(begun);
  }
  Status status = co_await load_.load->add(std::move(lines));
  if (status.ok() && !load_.load->complete()) co_return status;
  if (status.ok()) status = co_await load_.load->end();
  load_.load.reset();
  if (status.ok()) status = co_await open_names();
  load_.failed = !status.ok();
  // Servers must register anew: they are owed what was pending in the loaded metadata.
  for (const auto& member : membership_.members()) {
    membership_.owe(*member);
    if (member->connected()) {
      member->connection->close(Status(StatusCode::unavailable, "metadata was loaded"));
    }
  }
  co_return status;
}

// --- data servers ---

std::vector<std::byte> Controller::keys_body() const {
  msg::ClusterKeysT keys;
  clusters_->fill(keys);
  capability_keys_.fill(keys);
  return pack_body(keys);
}

Task<Status> Controller::spread_keys() {
  clusters_->changed();
  GD2FS_CO_TRY(co_await clusters_->reload());
  const uint64_t give_up_ns = loop_.now_ns() + options_.fence_patience_ns;
  for (size_t i = 0; i < membership_.members().size(); ++i) {
    Member* member = membership_.members()[i].get();
    for (;;) {
      if (stopping_) co_return Status(StatusCode::unavailable, "the controller stops");
      if (!member->connected() && membership_.lease_ended(*member)) break;  // learns at its return
      if (loop_.now_ns() >= give_up_ns) {
        co_return Status(StatusCode::timed_out, "a server has not taken the new keys");
      }
      if (member->connected()) {
        const std::shared_ptr<Connection> connection = member->connection;
        auto reply = co_await connection->calls().call(msg::Type::cluster_keys, keys_body(),
                                                       options_.call_timeout_ns);
        if (reply.has_value()) break;
      }
      co_await Delay(loop_, kSpreadRetryNs);
    }
  }
  co_return Status();
}

Task<std::vector<Controller::ServerAnswer>> Controller::ask_servers(msg::Type type,
                                                                    std::vector<std::byte> body) {
  std::vector<ServerAnswer> answers;
  for (size_t i = 0; i < membership_.members().size(); ++i) {
    Member* member = membership_.members()[i].get();
    if (!member->connected()) {
      answers.push_back({member->record.server_id,
                         fail(StatusCode::unavailable, "a data server is not connected")});
      continue;
    }
    const std::shared_ptr<Connection> connection = member->connection;
    auto reply = co_await connection->calls().call(type, body, options_.call_timeout_ns);
    answers.push_back({member->record.server_id, std::move(reply)});
  }
  co_return answers;
}

// --- background ---

void Controller::on_tidy(Completion&) {
  if (!tidying_ && !loading()) background_.spawn(tidy());
  loop_.start(tidy_timer_, options_.tidy_ns);
}

Task<void> Controller::tidy() {
  tidying_ = true;
  co_await fencing_->tidy();
  const uint64_t now_us = loop_.clock().wall_us();
  if (!capability_keys_.switched_over() ||
      capability_keys_.due(now_us, options_.capability_key_life_ns / kUs)) {
    co_await renew_capability_key();
  }
  if (now_us >= clients_expired_us_ + kExpireEveryUs) {
    clients_expired_us_ = now_us;
    auto expired = co_await names_->expire_clients(now_us - options_.client_forget_ns / kUs);
    if (!expired.has_value()) {
      GD2FS_LOG_WARN("expire clients: {}", expired.error().to_string());
    }
  }
  tidying_ = false;
}

// The servers know the new key before anybody is given a capability signed with it.
Task<void> Controller::renew_capability_key() {
  Status status;
  if (capability_keys_.switched_over()) {
    status = co_await capability_keys_.make_next(loop_.clock().wall_us());
  }
  if (status.ok()) status = co_await spread_keys();
  if (!status.ok()) {
    GD2FS_LOG_WARN("capability key: {}", status.to_string());
    co_return;
  }
  capability_keys_.switch_over();
}

}  // namespace gd2fs::controller
