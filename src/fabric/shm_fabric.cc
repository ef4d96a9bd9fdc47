#include "fabric/shm_fabric.h"

#include <algorithm>

#include "base/cores.h"
#include "base/log.h"
#include "fabric/shm_listener.h"
#include "fabric/shm_session.h"
#include "fabric/tcp_connect.h"

namespace gd2fs {
namespace {

class BothListeners final : public Listener {
 public:
  BothListeners(std::unique_ptr<Listener> network, std::unique_ptr<Listener> door)
      : network_(std::move(network)), door_(std::move(door)) {}
  std::string address() const override { return network_->address(); }

 private:
  std::unique_ptr<Listener> network_;
  std::unique_ptr<Listener> door_;
};

uint32_t helpers(uint32_t asked) {
  return std::max(asked, std::min(ShmFabric::kCopyHelpersMax, usable_cores() - 1));
}

uint32_t staged_helpers() {
  return std::min(ShmFabric::kStagedHelpersMax, usable_cores() / 2);
}

uint64_t staged_look_ns() {
  return usable_cores() >= ShmFabric::kManyCores ? ShmFabric::kStagedLookNs : 0;
}

}  // namespace

ShmFabric::ShmFabric(Loop& loop, Worker& worker, const TcpOptions& options, uint32_t copy_threads)
    : loop_(loop),
      worker_(worker),
      options_(options),
      tcp_(loop, worker, options),
      copies_(loop, "gd2fs-copy", helpers(copy_threads)),
      staged_(loop, "gd2fs-staged", staged_helpers(), staged_look_ns()),
      boot_id_(gd2fs::boot_id()) {}

ShmFabric::~ShmFabric() = default;

std::unique_ptr<Listener> both_listeners(std::unique_ptr<Listener> network,
                                         std::unique_ptr<Listener> door) {
  if (door == nullptr) return network;
  return std::make_unique<BothListeners>(std::move(network), std::move(door));
}

std::unique_ptr<Listener> ShmFabric::listen_at_door(ListenOptions* options, OnSession on_session) {
  if (options->same_host_directory.empty()) return nullptr;
  Result<HostDoor> door = make_host_door(options->same_host_directory);
  Result<TcpSocket> socket =
      door.has_value() ? TcpSocket::listen_local(door->socket_path) : fail(door.error());
  Status status = socket.has_value() ? Status() : socket.error();
  std::unique_ptr<ShmListener> listener;
  if (status.ok()) {
    listener =
        std::make_unique<ShmListener>(loop_, options_, staged_, staging_pages_, std::move(*socket),
                                      std::move(*door), *options, std::move(on_session));
    status = listener->start();
  }
  if (status.ok()) return listener;
  GD2FS_LOG_WARN("no shared memory for clients on this host: {}", status.to_string());
  options->same_host_directory.clear();
  return nullptr;
}

Result<std::unique_ptr<Listener>> ShmFabric::listen(const std::string& address,
                                                    ListenOptions options, OnSession on_session) {
  ListenOptions with_door = options;
  std::unique_ptr<Listener> door = listen_at_door(&with_door, on_session);
  GD2FS_ASSIGN(auto tcp, tcp_.listen(address, std::move(with_door), std::move(on_session)));
  return both_listeners(std::move(tcp), std::move(door));
}

void ShmFabric::say_why_not(const std::string& address, const Status& why) {
  if (std::exchange(said_why_not_, true)) return;
  GD2FS_LOG_WARN("{}: on this host, but reached over the network: {}", address, why.to_string());
}

Task<Result<std::unique_ptr<Session>>> ShmFabric::connect(ConnectOptions options) {
  const bool wanted = options.same_host != SameHost::off && !boot_id_.empty();
  TcpConnect tcp(loop_, worker_, options_, options, wanted ? boot_id_ : std::string());
  Result<std::unique_ptr<Session>> session = co_await tcp.run();
  if (!session.has_value()) co_return session;
  Status why_not(StatusCode::unsupported, "the server is on another host, or offers none");
  if (*session == nullptr) {
    Result<std::unique_ptr<Session>> here =
        co_await connect_here(options, tcp.same_host_directory(), tcp.deadline_ns());
    if (here.has_value()) co_return here;
    why_not = here.error();
  }
  if (options.same_host == SameHost::required) {
    co_return fail(why_not.with("shared memory is required"));
  }
  if (*session != nullptr) co_return session;
  say_why_not(options.address, why_not);
  options.same_host = SameHost::off;
  Result<std::unique_ptr<Session>> again = co_await tcp_.connect(std::move(options));
  co_return again;
}

Task<Result<std::unique_ptr<Session>>> ShmFabric::connect_here(ConnectOptions options,
                                                               std::string directory,
                                                               uint64_t deadline_ns) {
  Result<HostDoor> door = find_host_door(directory);
  if (!door.has_value()) co_return fail(door.error());
  Result<TcpSocket> socket = TcpSocket::connect_local(door->socket_path);
  if (!socket.has_value()) co_return fail(socket.error());
  TcpGreeting greeting(loop_, std::move(*socket));
  const GreetingDeadline deadline(loop_, greeting, deadline_ns);
  std::vector<Descriptor> descriptors;
  greeting.take_descriptors(&descriptors);
  HelloFacts hello;
  hello.role = static_cast<uint8_t>(options.role);
  hello.cluster = options.cluster;
  hello.incarnation = options.incarnation;
  Greeted greeted;
  std::string key = same_host_key(door->secret, options.key);
  Status status = co_await greet_server(&greeting, std::move(hello), std::move(key),
                                        options.insecure, &greeted);
  if (status.ok() && (descriptors.size() != 2 || greeted.session_number == 0)) {
    status = Status(StatusCode::invalid, "the server gave no memory");
  }
  if (!status.ok()) co_return fail(status.with(directory));
  Peer peer;
  peer.role = PeerRole::server;
  peer.server_id = greeted.server.server_id;
  peer.incarnation = greeted.server.incarnation;
  peer.address = options.address;
  auto session =
      std::make_unique<ShmClientSession>(loop_, options_, copies_, std::move(peer),
                                         greeted.session_number, std::move(greeted.session_key));
  session->set_events(options.events);
  session->set_eager_max_bytes(greeted.eager_max_bytes);
  status = session->join(greeting.take(), std::move(descriptors[0]), std::move(descriptors[1]));
  if (status.ok()) status = session->start();
  if (!status.ok()) co_return fail(status.with(directory));
  co_return std::unique_ptr<Session>(std::move(session));
}

}  // namespace gd2fs
