// What both ends of an RDMA session have: the queue pair, and its end.
#include "fabric/rdma_session.h"

namespace gd2fs {

RdmaSession::RdmaSession(Loop& loop, const TcpOptions& options, Peer peer, uint64_t number,
                         std::string session_key, RdmaShared shared,
                         std::unique_ptr<RdmaQueue> queue)
    : TcpSession(loop, options, std::move(peer), number, 1, std::move(session_key)),
      shared_(std::move(shared)),
      queue_(std::move(queue)) {
  queue_->set_owner(this);
}

RdmaSession::~RdmaSession() {
  destroy_queue();
}

Status RdmaSession::join(TcpSocket socket) {
  return join(std::make_unique<SocketLifeline>(loop_, std::move(socket)));
}

Status RdmaSession::join(std::unique_ptr<RdmaLifeline> lifeline) {
  auto stream = std::make_unique<RdmaStream>(std::move(lifeline), *queue_);
  stream_ = stream.get();
  return add_lane(0, std::move(stream));
}

void RdmaSession::send_bare(FrameKind kind, uint64_t request_id) {
  FrameHeader header;
  header.kind = kind;
  header.request_id = request_id;
  queue_frame(header, {});
}

// Bulk bytes first, so that a reply is behind them; all of it in one chain.
void RdmaSession::on_flush(Completion& done) {
  about_to_flush_ = true;
  move_bytes();
  about_to_flush_ = false;
  TcpSession::on_flush(done);
  if (queue_ != nullptr) queue_->post();
}

void RdmaSession::on_queue_ready() {
  if (!queue_->ok()) {
    ++counters().broken;
    return fail(queue_->broken());
  }
  if (stream_ != nullptr) stream_->on_ready();
  if (queue_ == nullptr) return;          // that was its end
  if (has_bytes_to_move()) kick();        // frames are told of room by their stream
  if (!flush_.pending()) queue_->post();  // credit, at least; a flush posts it all
  if (queue_->has_received()) queue_->look_again();
}

// --- the end ---

void RdmaSession::end_close() {
  queue_->detach();
  closer_ = new Closer;
  closer_->entries = queue_->take_entries();
  closer_->queue = std::move(queue_);
  closer_->session = this;
  closer_->closing = shared_.closing;
  ++*shared_.closing;
  closer_->job.run = [closer = closer_]() -> Status {
    closer->end();
    return {};
  };
  closer_->job.done.bind<&Closer::on_done>(closer_);
  shared_.worker->submit(loop_, closer_->job);
}

void RdmaSession::Closer::end() {
  std::lock_guard lock(mutex);
  queue.reset();
  gone = true;
  ended.notify_all();
}

void RdmaSession::Closer::on_done(Completion&) {
  if (!gone) end();  // the worker had no room
  --*closing;
  RdmaSession* const owner = session;
  if (owner != nullptr) owner->closer_ = nullptr;
  delete this;
  if (owner == nullptr) return;
  owner->on_queue_gone();
  owner->TcpSession::end_close();
}

void RdmaSession::destroy_queue() {
  if (queue_ != nullptr) {
    queue_->detach();
    queue_.reset();
  }
  if (closer_ != nullptr) {
    std::unique_lock lock(closer_->mutex);
    closer_->ended.wait(lock, [&] { return closer_->gone; });
    closer_->session = nullptr;  // it deletes itself when it comes back to the loop
    lock.unlock();
    closer_ = nullptr;
  }
}

}  // namespace gd2fs
