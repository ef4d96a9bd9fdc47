#include "client/read_operation.h"

#include <algorithm>

#include "client/client.h"

namespace gd2fs::client {
namespace {

// Reads this big want their neighbourhood read ahead.
constexpr uint64_t kSequentialBytes = 1 << 20;

}  // namespace

void ReadOperation::begin() {
  const uint64_t wanted = request_.memory.length_bytes();
  const uint64_t end = request_.offset + wanted;
  // Short because the file ends there, or because what we know is old? Only an answer to a question
  // from after this read began can tell.
  if (end > layout_->size_bytes && layout_->asked <= born_) return resolve(true, born_);
  const uint64_t left =
      layout_->size_bytes > request_.offset ? layout_->size_bytes - request_.offset : 0;
  length_ = std::min(wanted, left);
  generation_ = layout_->generation;
  sequential_ = length_ >= kSequentialBytes ||
                (request_.offset != 0 && request_.offset == layout_->next_read);
  layout_->next_read = request_.offset + length_;
  start_batches(length_);
}

Result<ConstBytes> ReadOperation::compose(Batch& batch, Link& link,
                                          flatbuffers::FlatBufferBuilder& builder) {
  const uint32_t handle = use_handle(link, *layout_);
  std::vector<msg::ReadPiece> pieces;
  pieces.reserve(batch.plan.pieces.size());
  uint64_t window_offset = 0;
  for (const Piece& piece : batch.plan.pieces) {
    pieces.emplace_back(window_offset, piece.chunk, piece.offset_bytes, piece.length_bytes, 0);
    window_offset += piece.length_bytes;
  }
  // The layout may be a newer one by now, with another size: then what was planned is stale.
  batch.generation = generation_;
  const auto vector = builder.CreateVectorOfStructs(pieces);
  return finish_body(
      builder,
      msg::CreateRead(builder, handle, generation_, layout_->namespace_epoch, batch.plan.group,
                      client_.map()->groups[batch.plan.group].epoch, vector, sequential_, lends_));
}

Status ReadOperation::on_batch_ok(Batch& batch) {
  const auto* reply = open_body<msg::ReadReply>(batch.reply);
  if (reply == nullptr) return {StatusCode::io, "the server's answer is malformed"};
  uint64_t zeros_bytes = 0;
  if (reply->zeros() != nullptr) {
    for (const msg::Range* range : *reply->zeros()) {
      if (!zero_range(batch.memory.segments, range->window_offset(), range->length_bytes())) {
        return {StatusCode::io, "the server named a hole outside of the request"};
      }
      zeros_bytes += range->length_bytes();
    }
  }
  if (batch.memory.moved_bytes + zeros_bytes != batch.plan.length_bytes) {
    return {StatusCode::io, "the server answered fewer bytes than were asked for"};
  }
  return {};
}

void ReadOperation::on_batches_done() {
  finish(length_);
}

void ReadOperation::start_over() {
  done_bytes_ = 0;
  resolve_after_stale();
}

}  // namespace gd2fs::client
