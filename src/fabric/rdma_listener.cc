#include "fabric/rdma_listener.h"

namespace gd2fs {

RdmaListener::RdmaListener(Loop& loop, const TcpOptions& tcp, TcpSocket socket, std::string address,
                           ListenOptions options, OnSession on_session, RdmaPorts& ports)
    : TcpListener(loop, tcp, std::move(socket), std::move(address), std::move(options),
                  std::move(on_session)),
      ports_(ports) {}

std::vector<std::string> RdmaListener::keys_for(const HelloFacts& hello) const {
  if (hello.session != 0) return {};  // there is one lane
  return TcpListener::keys_for(hello);
}

Task<Result<std::unique_ptr<TcpSession>>> RdmaListener::make_session(
    TcpGreeting* greeting, Peer peer, uint64_t number, const ServerHandshake* handshake) {
  if (handshake->hello().lanes != 1) co_return fail(StatusCode::invalid, "hello: lanes");
  Result<std::string> host = local_host_of(greeting->socket().fd());
  if (!host.has_value()) co_return fail(host.error());
  Status status = say_welcome(*greeting, number);
  if (!status.ok()) co_return fail(status);
  Await heard;
  greeting->hear(heard.done());
  status = co_await heard;
  if (!status.ok()) co_return fail(status);
  if (greeting->kind() != FrameKind::message || greeting->type() != msg::Type::queue_pair) {
    co_return fail(StatusCode::invalid, "handshake: no queue pair");
  }
  const Result<RdmaPeer> theirs = open_queue_pair(greeting->body());
  if (!theirs.has_value()) co_return fail(theirs.error());
  Result<RdmaShared> shared = co_await ports_.find(*host);
  if (!shared.has_value()) co_return fail(shared.error());
  Result<std::unique_ptr<RdmaQueue>> queue = co_await make_rdma_queue(&loop_, *shared);
  if (!queue.has_value()) co_return fail(queue.error());
  const std::vector<std::byte> ours = pack_queue_pair(**queue);
  status = (*queue)->join(*shared->port, *theirs);
  if (!status.ok()) {
    co_await end_rdma_queue(&loop_, *shared, std::move(*queue));
    co_return fail(status);
  }
  peer.address = rdma_name(peer.address);
  auto session = std::make_unique<RdmaServerSession>(loop_, tcp_, std::move(peer), number,
                                                     handshake->session_key(), std::move(*shared),
                                                     std::move(*queue));
  status = greeting->say(FrameKind::reply, msg::Type::queue_pair, ours);
  if (status.ok()) status = session->join(greeting->take());
  if (!status.ok()) co_return fail(status);
  co_return std::unique_ptr<TcpSession>(std::move(session));
}

}  // namespace gd2fs
