#include "server/write_op.h"

#include "server/connection.h"
#include "server/server_state.h"

namespace gd2fs::server {

// --- one step ---

WriteStep::WriteStep() {
  store_write.done.bind<&WriteStep::on_store>(this);
  pull_.done.bind<&WriteStep::on_pulled>(this);
}

void WriteStep::start(WriteOp& op, StepQueue& queue, StepAccount& account, uint32_t piece,
                      uint64_t window_offset) {
  op_ = &op;
  queue_ = &queue;
  account_ = &account;
  piece_ = piece;
  window_offset_ = window_offset;
  owns_tag_ = false;
  busy_since_ns = 0;
  op.connection_->open_steps().push_back(*this);
  reserve();
}

void WriteStep::reserve() {
  ServerState& server = op_->state();
  phase_ = Phase::reserving;
  if (!owns_tag_) {
    const TagInFlight tag{store_write.tag.incarnation, store_write.tag.sequence};
    const auto [first, inserted] = server.tags_in_flight.try_emplace(tag, this);
    owns_tag_ = inserted;
    if (!inserted && first->second->op_->connection_ != op_->connection_) {
      first->second->give_way();
    }
  }
  if (!owns_tag_) {
    if (server.parking.park(*this)) return;
    return finish(Status(StatusCode::busy, "another copy of this piece is in flight"));
  }
  server.store.reserve(store_write);
}

void WriteStep::give_way() {
  if (phase_ == Phase::pulling) op_->connection_->session().drop_request(op_->request_id_);
}

void WriteStep::retry() {
  if (op_->failed()) return finish(op_->first_error_);
  reserve();
}

uint64_t WriteStep::moved_bytes() const {
  return phase_ == Phase::pulling ? uint64_t{pull_.first_missing} * kStripeDefaultBytes
                                  : store_write.length_bytes;
}

void WriteStep::on_store(Completion& done) {
  if (phase_ == Phase::reserving) return on_reserved(done.status);
  finish(done.status);
}

void WriteStep::on_reserved(const Status& status) {
  ServerState& server = op_->state();
  if (store_write.replayed) {
    ++server.counters.write_replays_total;
    return finish(status);
  }
  if (status.is(StatusCode::busy) && !op_->failed() && server.parking.park(*this)) return;
  if (!status.ok()) return finish(status);
  const Status current = op_->failed() ? op_->first_error_ : op_->check_current();
  if (!current.ok()) {
    server.store.abort(store_write);
    return finish(current);
  }
  phase_ = Phase::pulling;
  pull_.request_id = op_->request_id_;
  pull_.offset = window_offset_;
  pull_.into = store_write.buffer;
  // Bytes of whole blocks are not read again for their checksums.
  static_assert(kPullBlockBytes == kBlockBytes);
  const bool whole_blocks =
      store_write.offset_bytes % kBlockBytes == 0 && store_write.length_bytes % kBlockBytes == 0;
  block_crcs_.resize(whole_blocks ? store_write.length_bytes / kBlockBytes : 0);
  pull_.block_crcs = block_crcs_;
  pull_.urgent = store_write.ack_from_memory;
  store_write.block_crcs = block_crcs_;
  op_->connection_->session().pull(pull_);
}

void WriteStep::on_pulled(Completion& done) {
  ServerState& server = op_->state();
  Status status = done.status;
  if (status.ok()) status = op_->failed() ? op_->first_error_ : op_->check_current();
  if (!status.ok()) {
    server.store.abort(store_write);
    return finish(status);
  }
  phase_ = Phase::committing;
  server.store.commit(store_write);
}

void WriteStep::finish(const Status& status) {
  const uint64_t bytes = store_write.length_bytes;
  ListNode<TransferStep>::unlink();
  ListNode<ParkedTag>::unlink();
  StepQueue& queue = *queue_;
  StepAccount& account = *account_;
  if (owns_tag_) {
    op_->state().tags_in_flight.erase({store_write.tag.incarnation, store_write.tag.sequence});
  }
  op_->end_step(*this, piece_, status);
  // Last, because it may start other steps, in this very object too.
  queue.finish(account, bytes);
}

// --- the request ---

ServerState& WriteOp::state() {
  return connection_->state();
}

void WriteOp::start(Connection& connection, uint64_t request_id, const Handle& handle,
                    const msg::Write& write) {
  connection_ = &connection;
  request_id_ = request_id;
  handle_ = handle;
  generation_ = write.generation();
  namespace_epoch_ = write.namespace_epoch();
  group_ = write.group();
  epoch_ = write.epoch();
  incarnation_ = write.incarnation();
  low_ = write.low();
  pieces_.clear();
  if (write.pieces() != nullptr) {
    for (const msg::WritePiece* piece : *write.pieces()) pieces_.push_back(*piece);
  }
  next_piece_ = 0;
  steps_open_ = 0;
  written_bytes_ = 0;
  done_.fill(0);
  first_error_ = Status();
  ++state().counters.write_requests_total;
  connection.begin(*this);
  if (!pieces_left()) return settle();
  want_step();
}

void WriteOp::want_step() {
  step_bytes = pieces_[next_piece_].length_bytes();
  const bool small = step_bytes <= kSmallStepBytes;
  ServerState& server = state();
  (small ? server.small_writes : server.big_writes)
      .want(small ? connection_->small_writes : connection_->big_writes, *this);
}

void WriteOp::take_step() {
  const auto number = static_cast<uint32_t>(next_piece_);
  const msg::WritePiece& piece = pieces_[next_piece_++];
  const bool small = step_bytes <= kSmallStepBytes;
  WriteStep* step = state().write_steps.get();
  CHECK(step != nullptr);  // as many as both queues' steps_max
  StoreWrite& write = step->store_write;
  write.key = {handle_.inode, piece.chunk()};
  write.chunk_log2 = handle_.chunk_log2;
  write.offset_bytes = piece.offset_bytes();
  write.length_bytes = piece.length_bytes();
  write.generation = generation_;
  write.tag = {incarnation_, piece.sequence(), low_};
  write.group = group_;
  write.epoch = epoch_;
  write.ack_from_memory = state().authority.durability_memory(connection_->cluster_id());
  ++steps_open_;
  step->start(*this, small ? state().small_writes : state().big_writes,
              small ? connection_->small_writes : connection_->big_writes, number,
              piece.window_offset());
  if (pieces_left()) want_step();
}

void WriteOp::fail(const Status& why) {
  if (failed()) return;
  first_error_ = why;
  ListNode<StepTaker>::unlink();
  next_piece_ = pieces_.size();
}

void WriteOp::cancel(const Status& why) {
  fail(why);
  settle();
}

// What may have changed since the request arrived, but for tag and fence, which the store knows.
Status WriteOp::check_current() {
  ServerState& server = state();
  if (!server.lease.held()) {
    return {StatusCode::unavailable, "this server's lease ended during the write"};
  }
  GD2FS_TRY(server.check_handle(handle_, generation_));
  GD2FS_TRY(server.authority.check_namespace(connection_->cluster_id(), namespace_epoch_));
  return server.authority.check_group(group_, epoch_);
}

void WriteOp::end_step(WriteStep& step, uint32_t piece, const Status& status) {
  if (status.ok()) {
    written_bytes_ += step.store_write.length_bytes;
    done_[piece / 64] |= uint64_t{1} << (piece % 64);
  } else {
    fail(status);
  }
  --steps_open_;
  state().write_steps.put(&step);
  settle();
}

// Replies and ends when nothing is in flight and nothing is left to do.
void WriteOp::settle() {
  if (steps_open_ > 0 || pieces_left()) return;
  ServerCounters& counters = state().counters;
  counters.write_bytes_total += written_bytes_;
  if (failed()) {
    ++counters.write_errors_total;
    std::span<const uint64_t> done;
    if (written_bytes_ > 0) done = done_;
    connection_->reply_error(request_id_, first_error_, done);
  } else {
    auto& builder = state().reply_builder();
    connection_->reply(msg::Type::write, request_id_,
                       finish_body(builder, msg::CreateWriteReply(builder, written_bytes_)));
  }
  Connection& connection = *connection_;
  connection.state().write_ops.put(this);
  connection.end(*this);
}

}  // namespace gd2fs::server
