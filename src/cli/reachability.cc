#include "cli/reachability.h"

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>

#include "base/random.h"
#include "cli/exit_code.h"
#include "client/cluster_map.h"
#include "client/options.h"
#include "fabric/calls.h"
#include "fabric/rdma_fabric.h"

namespace gd2fs::cli {
namespace {

using client::ClientOptions;
using client::ClusterMap;
using doctor::Finding;
using doctor::Findings;
using doctor::Level;
using doctor::Needs;

constexpr const char* kArea = "servers";
constexpr uint64_t kTimeoutNs = 3 * kSecond;

template <class T>
Task<void> keep(Task<T> task, std::optional<T>* result) {
  T value = co_await std::move(task);
  result->emplace(std::move(value));
}

// One session at a time, as a client of the cluster. The calling thread turns the loop.
class Probe final : public SessionEvents {
 public:
  explicit Probe(const ClientOptions& options)
      : options_(options),
        loop_(clock_, Loop::Waits::epoll),
        resolver_("resolver"),
        fabric_(loop_, resolver_),
        incarnation_(Random(Random::seed_from_kernel()).next() | 1) {}
  ~Probe() override { close(); }
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  // Until both sides have proved themselves; how long that took.
  Result<uint64_t> connect(const std::string& address, SameHost same_host,
                           const std::string& local_address = {}) {
    close();
    ConnectOptions to;
    to.address = address;
    to.local_address = local_address;
    to.cluster = options_.cluster;
    to.key = options_.key;
    to.insecure = options_.key.empty();
    to.incarnation = incarnation_;
    to.timeout_ns = kTimeoutNs;
    to.same_host = same_host;
    to.events = this;
    closed_ = false;
    const uint64_t began_ns = clock_.now_ns();
    GD2FS_ASSIGN(session_, finish(fabric_.connect(std::move(to))));
    calls_ = std::make_unique<Calls>(loop_, *session_);
    return clock_.now_ns() - began_ns;
  }

  std::string_view path() const { return session_->path(); }

  Result<ClusterMap> cluster_map() {
    GD2FS_ASSIGN(
        const CallReply reply,
        finish(calls_->call(msg::Type::cluster_map, pack_body(msg::ClusterMapT{}), kTimeoutNs)));
    const auto* table = reply.open<msg::ClusterMapReply>();
    if (table == nullptr) return fail(StatusCode::corrupt, "the cluster map is malformed");
    return client::cluster_map_from(*table);
  }

  void on_message(Session&, const Message&) override {}  // whoever asks us will not get an answer
  void on_reply(Session&, const Message& reply) override {
    if (calls_ != nullptr) calls_->on_reply(reply);
  }
  void on_closed(Session&, const Status& reason) override {
    closed_ = true;
    if (calls_ != nullptr) calls_->on_closed(reason);
  }

 private:
  template <class T>
  T finish(Task<T> task) {
    std::optional<T> result;
    loop_.spawn(keep(std::move(task), &result));
    while (!result) loop_.turn(UINT64_MAX);
    return std::move(*result);
  }

  void close() {
    if (session_ == nullptr) return;
    if (!closed_) session_->close(Status(StatusCode::canceled, "done"));
    while (!closed_) loop_.turn(UINT64_MAX);
    calls_.reset();
    session_.reset();
  }

  const ClientOptions& options_;
  RealClock clock_;
  Loop loop_;
  ThreadWorker resolver_;
  RdmaFabric fabric_;
  const uint64_t incarnation_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<Calls> calls_;
  bool closed_ = true;
};

std::string answer_text(std::string_view path, uint64_t took_ns) {
  char text[96];
  std::snprintf(text, sizeof text, "connects and proves itself over %.*s in %.2f ms",
                static_cast<int>(path.size()), path.data(), static_cast<double>(took_ns) / 1e6);
  return text;
}

Finding failure(std::string subject, Level level, const Status& status) {
  return {kArea, std::move(subject), level, std::string(status.text()), remedy(status)};
}

// The map from the first controller that answers.
std::optional<ClusterMap> ask_controllers(Probe& probe, const ClientOptions& options, bool named,
                                          Findings* out) {
  std::optional<ClusterMap> map;
  for (const std::string& address : options.controllers) {
    const std::string subject = "controller " + address;
    const Result<uint64_t> took_ns = probe.connect(address, SameHost::off);
    if (!took_ns) {
      out->push_back(failure(subject, named ? Level::missing : Level::note, took_ns.error()));
      continue;
    }
    out->push_back({kArea, subject, Level::ok, answer_text(probe.path(), *took_ns), ""});
    if (map) continue;
    Result<ClusterMap> answer = probe.cluster_map();
    if (answer) {
      map = std::move(*answer);
    } else {
      out->push_back(failure(subject, Level::missing, answer.error()));
    }
  }
  return map;
}

// From each of the rails that the settings name. It is a lack only if none reaches this address.
void ask_rails(Probe& probe, const ClientOptions& options, const std::string& subject,
               const std::string& address, Level lack, Findings* out) {
  Findings rails;
  for (const client::LocalAddress& local : options.locals) {
    if (local.transport != client::Transport::rdma) continue;
    const bool v6 = local.host.find(':') != std::string::npos;
    const std::string from = v6 ? std::string("[").append(local.host).append("]") : local.host;
    const Result<uint64_t> took_ns =
        probe.connect(address, SameHost::off, from.empty() ? "" : "rdma://" + from);
    Finding& rail = rails.emplace_back();
    rail.area = kArea;
    rail.subject = subject;
    if (!from.empty()) rail.subject.append(" from ").append(from);
    if (took_ns) {
      rail.found = answer_text(probe.path(), *took_ns);
      lack = Level::note;
    } else {
      rail.level = Level::missing;
      rail.found = took_ns.error().text();
      rail.remedy =
          "what is said of RDMA above, here and on the server; are both in one network, and does "
          "UDP port 4791 pass?";
    }
  }
  for (Finding& rail : rails) {
    if (rail.level == Level::missing) rail.level = lack;
    out->push_back(std::move(rail));
  }
  if (rails.empty()) {
    out->push_back({kArea, subject, Level::ok, "offered; --dp names no rdma:// address", ""});
  }
}

// Over the network, and by shared memory where a server on this host offers that.
void ask_server(Probe& probe, const ClientOptions& options, const Needs& needs, uint32_t id,
                const std::string& address, Findings* out) {
  const std::string subject = "server " + std::to_string(id) + " " + address;
  if (address.starts_with(kRdmaScheme)) {
    ask_rails(probe, options, subject, address, needs.lack_of_rdma(), out);
    return;
  }
  const Result<uint64_t> network_ns = probe.connect(address, SameHost::off);
  if (!network_ns) {
    out->push_back(failure(subject, Level::missing, network_ns.error()));
    return;
  }
  out->push_back({kArea, subject, Level::ok, answer_text(probe.path(), *network_ns), ""});
  if (!options.shm) return;
  const Result<uint64_t> here_ns = probe.connect(address, SameHost::allowed);
  if (here_ns && probe.path() == "shm") {
    out->push_back({kArea, subject, Level::ok, answer_text(probe.path(), *here_ns), ""});
  }
}

Result<ClientOptions> client_options(const Config& config) {
  if (!config.client_token_file.empty()) {
    // As for the C interface, which has no field for it.
    // NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread yet
    setenv("GD2FS_TOKEN_FILE", config.client_token_file.c_str(), 1);
  }
  client::RawOptions raw;
  raw.cp_address = config.client_cp.c_str();
  raw.dp_address = config.client_dp.c_str();
  raw.cluster_id = config.cluster.c_str();
  return client::parse_options(raw, client::process_environment());
}

}  // namespace

void check_reachability(const Config& config, const Needs& needs, bool named, Findings* out) {
  const Result<ClientOptions> options = client_options(config);
  if (!options) {
    out->push_back(failure("settings", Level::missing, options.error()));
    return;
  }
  Probe probe(*options);
  const std::optional<ClusterMap> map = ask_controllers(probe, *options, named, out);
  if (!map) return;
  for (const auto& [id, server] : map->servers) {
    if (!server.alive) {
      out->push_back({kArea, "server " + std::to_string(id), Level::missing,
                      "the controller has not heard of it for a lease",
                      "is `gd2fs server` running there? `gd2fs status` shows all"});
      continue;
    }
    for (const std::string& address : server.addresses) {
      ask_server(probe, *options, needs, id, address, out);
    }
  }
}

}  // namespace gd2fs::cli
