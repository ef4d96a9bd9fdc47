#include "fabric/shm_listener.h"

#include <cerrno>

#include <sys/socket.h>

#include "fabric/shm_session.h"

namespace gd2fs {

ShmListener::ShmListener(Loop& loop, const TcpOptions& tcp, SlicePool& copies, HugePageTaker& pages,
                         TcpSocket socket, HostDoor door, ListenOptions options,
                         OnSession on_session)
    : TcpListener(loop, tcp, std::move(socket), "shm://" + door.socket_path, std::move(options),
                  std::move(on_session)),
      copies_(copies),
      pages_(pages),
      door_(std::move(door)) {}

Result<std::string> ShmListener::set_up(const TcpSocket& socket) const {
  ucred peer{};
  socklen_t length = sizeof peer;
  if (getsockopt(socket.fd(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
    return fail(Status::from_errno(errno, "SO_PEERCRED"));
  }
  return "shm://pid " + std::to_string(peer.pid) + ", uid " + std::to_string(peer.uid);
}

std::vector<std::string> ShmListener::keys_for(const HelloFacts& hello) const {
  if (hello.session != 0) return {};  // there is one lane
  std::vector<std::string> keys = TcpListener::keys_for(hello);
  for (std::string& key : keys) key = same_host_key(door_.secret, key);
  return keys;
}

Task<Result<std::unique_ptr<TcpSession>>> ShmListener::make_session(
    TcpGreeting* greeting, Peer peer, uint64_t number, const ServerHandshake* handshake) {
  if (handshake->hello().lanes != 1) co_return fail(StatusCode::invalid, "hello: lanes");
  auto session = std::make_unique<ShmServerSession>(loop_, tcp_, copies_, pages_, std::move(peer),
                                                    number, handshake->session_key());
  Descriptor segment;
  Descriptor staging;
  // The client goes on over TCP.
  const Status made = session->make_memory(&segment, &staging);
  if (!made.ok()) co_return fail(Status(StatusCode::unavailable, made.text(), made.errno_value()));
  const int descriptors[] = {segment.fd(), staging.fd()};
  Status status = say_welcome(*greeting, number, descriptors);
  if (status.ok()) status = session->join(greeting->take());
  if (!status.ok()) co_return fail(status);
  co_return std::unique_ptr<TcpSession>(std::move(session));
}

}  // namespace gd2fs
