#include "fabric/tcp_fabric.h"

#include "fabric/tcp_connect.h"
#include "fabric/tcp_listener.h"

namespace gd2fs {

TcpFabric::TcpFabric(Loop& loop, Worker& worker, TcpOptions options)
    : loop_(loop), worker_(worker), options_(std::move(options)) {}

Result<std::unique_ptr<Listener>> TcpFabric::listen(const std::string& address,
                                                    ListenOptions options, OnSession on_session) {
  GD2FS_ASSIGN(const TcpAddress parsed, parse_tcp_address(address));
  GD2FS_ASSIGN(const auto found, resolve(parsed, Resolve::names_too));
  GD2FS_ASSIGN(TcpSocket socket, TcpSocket::listen(found.front()));
  GD2FS_ASSIGN(const SocketAddress bound, socket_address_of(socket.fd()));
  auto listener =
      std::make_unique<TcpListener>(loop_, options_, std::move(socket), bound.to_string(),
                                    std::move(options), std::move(on_session));
  GD2FS_TRY(listener->start());
  return listener;
}

Task<Result<std::unique_ptr<Session>>> TcpFabric::connect(ConnectOptions options) {
  TcpConnect connect(loop_, worker_, options_, std::move(options));
  auto session = co_await connect.run();
  co_return session;
}

}  // namespace gd2fs
