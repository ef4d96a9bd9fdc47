#include "server/prefetch_op.h"

#include "server/connection.h"
#include "server/residency_op.h"
#include "server/server_state.h"

namespace gd2fs::server {

PrefetchOp::PrefetchOp() {
  for (StoreRead& read : reads_) {
    read.fill_only = true;
    read.sequential = true;
    read.done.bind<&PrefetchOp::on_filled>(this);
  }
}

void PrefetchOp::start(Connection& connection, uint64_t request_id, const Handle& handle,
                       const msg::Prefetch& prefetch) {
  connection_ = &connection;
  request_id_ = request_id;
  handle_ = handle;
  generation_ = prefetch.generation();
  pieces_ = pieces_of(prefetch.pieces());
  next_piece_ = 0;
  fills_ = 0;
  failure_ = Status();
  connection.begin(*this);
  fill();
}

void PrefetchOp::fill() {
  for (StoreRead& read : reads_) {
    if (next_piece_ == pieces_.size()) break;
    if (read.done.pending()) continue;
    const msg::ReadPiece& piece = pieces_[next_piece_++];
    read.key = {handle_.inode, piece.chunk()};
    read.chunk_log2 = handle_.chunk_log2;
    read.offset_bytes = piece.offset_bytes();
    read.length_bytes = piece.length_bytes();
    read.generation = generation_;
    ++fills_;
    connection_->state().store.read(read);
  }
  if (fills_ == 0) finish();
}

void PrefetchOp::on_filled(Completion& done) {
  --fills_;
  // No room is an answer, not a failure: what is resident is counted at the end.
  if (!done.status.ok() && !done.status.is(StatusCode::busy)) cancel(done.status);
  fill();
}

void PrefetchOp::cancel(const Status& why) {
  if (failure_.ok()) failure_ = why;
  next_piece_ = pieces_.size();
}

void PrefetchOp::finish() {
  Connection& connection = *connection_;
  ServerState& server = connection.state();
  if (failure_.ok()) {
    auto& builder = server.reply_builder();
    const uint64_t bytes = resident_bytes(server.store, handle_, pieces_);
    connection.reply(msg::Type::prefetch, request_id_,
                     finish_body(builder, msg::CreatePrefetchReply(builder, bytes)));
  } else {
    connection.reply_error(request_id_, failure_);
  }
  server.prefetch_ops.put(this);
  connection.end(*this);
}

}  // namespace gd2fs::server
