#include "fabric/rdma_fabric.h"

#include "base/log.h"
#include "fabric/rdma_connect.h"
#include "fabric/rdma_listener.h"
#include "fabric/same_host.h"

namespace gd2fs {
namespace {

// "rdma://x" -> "tcp://x": where its handshake is.
std::string tcp_address_of(std::string_view address) {
  return "tcp://" + std::string(address.substr(kRdmaScheme.size()));
}

}  // namespace

RdmaFabric::RdmaFabric(Loop& loop, Worker& worker, const TcpOptions& options, uint32_t copy_threads)
    : loop_(loop),
      worker_(worker),
      options_(options),
      shm_(loop, worker, options, copy_threads),
      ports_(loop, memory_) {}

RdmaFabric::~RdmaFabric() {
  ports_.end_worker();
  // The worker has ended, so the word that it left on the loop is there to be taken; by the loop
  // itself, if that is what destroys us.
  while (ports_.closing() > 0 && !loop_.on_loop_thread()) (void)loop_.run_queued();
}

Status RdmaFabric::open_nic(const std::string& host) {
  if (!host.empty()) return ports_.open_now(host);
  const auto library = verbs::Library::get();
  return library.has_value() ? Status() : library.error();
}

Result<std::unique_ptr<Listener>> RdmaFabric::listen(const std::string& address,
                                                     ListenOptions options, OnSession on_session) {
  if (!address.starts_with(kRdmaScheme)) {
    return shm_.listen(address, std::move(options), std::move(on_session));
  }
  GD2FS_ASSIGN(const TcpAddress parsed, parse_tcp_address(tcp_address_of(address)));
  GD2FS_ASSIGN(const auto found, resolve(parsed, Resolve::names_too));
  GD2FS_ASSIGN(TcpSocket socket, TcpSocket::listen(found.front()));
  GD2FS_ASSIGN(const SocketAddress bound, socket_address_of(socket.fd()));
  // Of "any" address the NICs show when somebody comes.
  if (bound.is_any()) {
    GD2FS_TRY(open_nic({}));
  } else {
    GD2FS_ASSIGN(const std::string host, local_host_of(socket.fd()));
    GD2FS_TRY(open_nic(host));
  }
  std::string name = rdma_name(bound.to_string());
  std::unique_ptr<Listener> door = shm_.listen_at_door(&options, on_session);
  auto rdma = std::make_unique<RdmaListener>(loop_, options_, std::move(socket), std::move(name),
                                             std::move(options), std::move(on_session), ports_);
  GD2FS_TRY(rdma->start());
  return both_listeners(std::move(rdma), std::move(door));
}

Task<Result<std::unique_ptr<Session>>> RdmaFabric::connect(ConnectOptions options) {
  if (!options.address.starts_with(kRdmaScheme)) {
    Result<std::unique_ptr<Session>> session = co_await shm_.connect(std::move(options));
    co_return session;
  }
  ConnectOptions to = options;
  to.address = tcp_address_of(options.address);
  if (options.local_address.starts_with(kRdmaScheme)) {
    to.local_address = tcp_address_of(options.local_address);
  }
  const SameHost same_host = to.same_host;
  const bool wanted = same_host != SameHost::off && !shm_.boot_id().empty();
  RdmaConnect rdma(loop_, worker_, options_, to, wanted ? shm_.boot_id() : std::string(), ports_);
  Result<std::unique_ptr<Session>> session = co_await rdma.run();
  if (session.has_value() && *session == nullptr) {
    Result<std::unique_ptr<Session>> here =
        co_await shm_.connect_here(to, rdma.same_host_directory(), rdma.deadline_ns());
    if (here.has_value() || same_host == SameHost::required) co_return here;
    shm_.say_why_not(options.address, here.error());
    RdmaConnect again(loop_, worker_, options_, to, std::string(), ports_);
    session = co_await again.run();
  } else if (session.has_value() && same_host == SameHost::required) {
    co_return fail(StatusCode::unsupported, "shared memory is required, and not offered");
  }
  co_return session;
}

}  // namespace gd2fs
