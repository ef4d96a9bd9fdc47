#include "fabric/rdma_connect.h"

namespace gd2fs {
namespace {

ConnectOptions with_one_lane(ConnectOptions options) {
  options.lanes = 0;
  return options;
}

}  // namespace

RdmaConnect::RdmaConnect(Loop& loop, Worker& worker, const TcpOptions& tcp, ConnectOptions options,
                         std::string boot_id, RdmaPorts& ports)
    : TcpConnect(loop, worker, tcp, with_one_lane(std::move(options)), std::move(boot_id)),
      ports_(ports) {}

Task<Status> RdmaConnect::begin_session(TcpGreeting* greeting, Peer peer, Greeted* greeted) {
  Result<std::string> host = local_host_of(greeting->socket().fd());
  if (!host.has_value()) co_return host.error();
  Result<RdmaShared> shared = co_await ports_.find(*host);
  if (!shared.has_value()) co_return shared.error();
  Result<std::unique_ptr<RdmaQueue>> queue = co_await make_rdma_queue(&loop_, *shared);
  if (!queue.has_value()) co_return queue.error();
  Status status =
      greeting->say(FrameKind::message, msg::Type::queue_pair, pack_queue_pair(**queue));
  if (!status.ok()) co_return status;
  Await heard;
  greeting->hear(heard.done());
  status = co_await heard;
  if (status.ok()) status = check_greeting_reply(*greeting, msg::Type::queue_pair);
  if (!status.ok()) co_return status;
  const Result<RdmaPeer> theirs = open_queue_pair(greeting->body());
  if (!theirs.has_value()) co_return theirs.error();
  status = (*queue)->join(*shared->port, *theirs);
  if (status.ok()) status = co_await prove_rdma_queue(&loop_, queue->get(), deadline_ns());
  if (!status.ok()) {
    co_await end_rdma_queue(&loop_, *shared, std::move(*queue));
    co_return status;
  }
  peer.address = rdma_name(peer.address);
  auto session = std::make_unique<RdmaClientSession>(
      loop_, tcp_, std::move(peer), greeted->session_number, std::move(greeted->session_key),
      std::move(*shared), std::move(*queue));
  session->set_events(options_.events);
  session->set_eager_max_bytes(greeted->eager_max_bytes);
  status = session->join(greeting->take());
  if (status.ok()) session_ = std::move(session);
  co_return status;
}

}  // namespace gd2fs
