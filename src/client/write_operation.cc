#include "client/write_operation.h"

#include <algorithm>
#include <cerrno>

#include "client/client.h"

namespace gd2fs::client {
namespace {

// All or none: a batch that waits for more may not hold the lowest one.
bool take_sequences(Peer& peer, Batch* batch) {
  while (batch->sequences.size() < batch->plan.pieces.size()) {
    const uint64_t sequence = peer.take_sequence();
    if (sequence == 0) {
      for (const uint64_t taken : batch->sequences) peer.end_sequence(taken);
      batch->sequences.clear();
      return false;
    }
    batch->sequences.push_back(sequence);
  }
  return true;
}

}  // namespace

WriteOperation::WriteOperation(Client& client, Request& request)
    : DataOperation(client, request, true) {
  size_.done.bind<&WriteOperation::on_size>(this);
}

void WriteOperation::stop_own() {
  if (asking_size_) client_.sizes().cancel(size_);
}

void WriteOperation::begin() {
  if (request_.memory.length_bytes() == 0) return finish(0);
  if (size_refused_) return begin_after_refused_size();
  if (started_ && layout_->inode != inode_) {
    const auto unsure = [](const auto& batch) { return batch->unsure; };
    if (done_bytes_ > 0 || parked_.any_of(unsure)) {
      return fail(Status(StatusCode::not_found, "the file was replaced while it was written"),
                  Origin::controller);
    }
    parked_.clear();
    started_ = false;
  }
  inode_ = layout_->inode;
  known_generation_ = layout_->generation;
  known_size_ = layout_->size_bytes;
  if (end() > layout_->reserved_bytes) return ask(Sizes::Kind::reserve, layout_->generation);
  if (started_) return pump();
  started_ = true;
  start_batches(request_.memory.length_bytes());
}

// All pieces are durable, but the file's generation changed before its size could follow. If it was
// cut after that, the write counts as ordered before the cut (to raise the size again would show
// zeros where our bytes were). If it is as long as it was, it may have been renamed there and back,
// or truncated to a length in between: the outcome is open.
void WriteOperation::begin_after_refused_size() {
  if (layout_->inode != inode_) {
    return fail(Status(StatusCode::not_found, "the file was replaced while it was written"),
                Origin::controller);
  }
  const bool cut = known_generation_ == acked_generation_ && layout_->size_bytes < known_size_;
  if (cut || layout_->size_bytes >= acked_end()) return finish(request_.memory.length_bytes());
  fail(Status(StatusCode::stale, "the file was truncated or renamed while it was written"),
       Origin::controller);
}

void WriteOperation::ask(Sizes::Kind kind, uint64_t generation) {
  size_.kind = kind;
  size_.inode = layout_->inode;
  size_.generation = generation;
  size_.end_bytes = kind == Sizes::Kind::reserve ? end() : acked_end();
  asking_size_ = true;
  client_.sizes().start(size_);
}

void WriteOperation::on_size(Completion&) {
  asking_size_ = false;
  if (ending()) return;
  if (size_.outcome.is(StatusCode::stale)) {
    size_refused_ = size_.kind == Sizes::Kind::set_size;
    return resolve_after_stale();
  }
  if (!size_.outcome.ok()) return fail(size_.outcome, Origin::controller);
  const bool current = layout_->generation == size_.generation;
  if (current) layout_->size_bytes = std::max(layout_->size_bytes, size_.size_bytes);
  if (size_.kind == Sizes::Kind::set_size) return finish(request_.memory.length_bytes());
  reached(2);
  if (current) {
    layout_->reserved_bytes = std::max({layout_->reserved_bytes, size_.reserved_bytes, end()});
  }
  if (started_) return pump();
  started_ = true;
  start_batches(request_.memory.length_bytes());
}

Result<ConstBytes> WriteOperation::compose(Batch& batch, Link& link,
                                           flatbuffers::FlatBufferBuilder& builder) {
  Peer& peer = *batch.sequences_of;
  if (!take_sequences(peer, &batch)) return gd2fs::fail(Peer::no_sequence());
  const uint32_t handle = use_handle(link, *layout_);
  std::vector<msg::WritePiece> pieces;
  pieces.reserve(batch.plan.pieces.size());
  uint64_t window_offset = 0;
  for (size_t i = 0; i < batch.plan.pieces.size(); ++i) {
    const Piece& piece = batch.plan.pieces[i];
    pieces.emplace_back(window_offset, batch.sequences[i], piece.chunk, piece.offset_bytes,
                        piece.length_bytes, 0);
    window_offset += piece.length_bytes;
  }
  if (batch.generation == 0) batch.generation = known_generation_;
  const auto vector = builder.CreateVectorOfStructs(pieces);
  return finish_body(
      builder, msg::CreateWrite(builder, handle, batch.generation, layout_->namespace_epoch,
                                batch.plan.group, client_.map()->groups[batch.plan.group].epoch,
                                client_.incarnation(), peer.low_sequence(), vector));
}

Status WriteOperation::on_batch_ok(Batch& batch) {
  const auto* reply = open_body<msg::WriteReply>(batch.reply);
  if (reply == nullptr) return {StatusCode::io, "the server's answer is malformed"};
  if (reply->written_bytes() != batch.plan.length_bytes) {
    return {StatusCode::io, "the server wrote fewer bytes than it was given"};
  }
  acked(batch.generation, batch.plan.pieces.back());
  return {};
}

void WriteOperation::on_batch_stale(std::unique_ptr<Batch> batch) {
  // The answer lists the pieces that are durable all the same; the others were not executed and
  // never will be under the old generation.
  std::vector<bool> done(batch->plan.pieces.size());
  const auto* error = open_body<msg::Error>(batch->reply);
  if (error != nullptr && error->done() != nullptr) {
    for (size_t i = 0; i < done.size() && i / 64 < error->done()->size(); ++i) {
      done[i] = (error->done()->Get(static_cast<uint32_t>(i / 64)) >> (i % 64) & 1) != 0;
      if (!done[i]) continue;
      acked(batch->generation, batch->plan.pieces[i]);
      done_bytes_ += batch->plan.pieces[i].length_bytes;
    }
  }
  // A server that does not know the handle has not looked whether an earlier copy was executed: the
  // same again, under a new handle. Else the next generation.
  const bool promised = batch->outcome.errno_value() != EBADF;
  batch->unsure = !promised && (batch->unsure || batch->perhaps_executed);
  if (!batch->unsure) batch->generation = 0;
  if (batch->drop_pieces(done, request_.memory)) parked_.push_back(std::move(batch));
}

void WriteOperation::acked(uint64_t generation, const Piece& piece) {
  if (generation < acked_generation_) return;
  if (generation > acked_generation_) acked_bytes_ = 0;
  acked_generation_ = generation;
  acked_bytes_ = std::max(acked_bytes_, piece.request_offset + piece.length_bytes);
}

void WriteOperation::on_batches_done() {
  if (acked_end() <= layout_->size_bytes) return finish(request_.memory.length_bytes());
  reached(3);
  ask(Sizes::Kind::set_size, acked_generation_);
}

}  // namespace gd2fs::client
