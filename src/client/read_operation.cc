#include "client/read_operation.h"

#include <algorithm>

#include "client/client.h"

namespace gd2fs::client {
namespace {

// Reads this big want their neighbourhood too.
constexpr uint64_t kSequentialBytes = 1 << 20;
// So much that what is gained at its end is more than what a drive loses that has less to do there.
constexpr uint64_t kTaperFromBytes = 32 << 20;

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
  stream_ = request_.offset != 0 && request_.offset == layout_->next_read;
  sequential_ = stream_ || length_ >= kSequentialBytes;
  layout_->next_read = request_.offset + length_;
  start_batches(length_);
}

ConstBytes ReadOperation::fill_form(const Batch& batch, uint32_t handle, uint64_t group_epoch) {
  BodyForm<msg::Read>& form = client_.read_form();
  const Piece& piece = batch.plan.pieces.front();
  form.set(msg::Read::VT_HANDLE, handle);
  form.set(msg::Read::VT_GENERATION, generation_);
  form.set(msg::Read::VT_NAMESPACE_EPOCH, layout_->namespace_epoch);
  form.set(msg::Read::VT_GROUP, batch.plan.group);
  form.set(msg::Read::VT_EPOCH, group_epoch);
  form.set(msg::Read::VT_PIECES, 0,
           msg::ReadPiece(0, piece.chunk, piece.offset_bytes, piece.length_bytes, 0));
  form.set(msg::Read::VT_SEQUENTIAL, sequential_);
  form.set(msg::Read::VT_LEND, lends_);
  form.set(msg::Read::VT_STREAM, stream_);
  return form.bytes();
}

Result<ConstBytes> ReadOperation::compose(Batch& batch, Link& link,
                                          flatbuffers::FlatBufferBuilder& builder) {
  const uint32_t handle = use_handle(link, *layout_);
  const uint64_t group_epoch = client_.map()->groups[batch.plan.group].epoch;
  // The layout may be a newer one by now, with another size: then what was planned is stale.
  batch.generation = generation_;
  flatbuffers::Optional<uint64_t> follows_bytes;
  if (length_ >= kTaperFromBytes && !stream_) {  // a stream does not end with its request
    const Piece& last = batch.plan.pieces.back();
    follows_bytes = length_ - (last.request_offset + last.length_bytes);
  } else if (batch.plan.pieces.size() == 1) {
    return fill_form(batch, handle, group_epoch);
  }
  msg::ReadPiece* pieces = nullptr;
  const auto vector = builder.CreateUninitializedVectorOfStructs(batch.plan.pieces.size(), &pieces);
  uint64_t window_offset = 0;
  for (const Piece& piece : batch.plan.pieces) {
    *pieces++ =
        msg::ReadPiece(window_offset, piece.chunk, piece.offset_bytes, piece.length_bytes, 0);
    window_offset += piece.length_bytes;
  }
  return finish_body(
      builder,
      msg::CreateRead(builder, handle, generation_, layout_->namespace_epoch, batch.plan.group,
                      group_epoch, vector, sequential_, lends_, stream_, follows_bytes));
}

Status ReadOperation::on_batch_ok(Batch& batch) {
  const auto* reply = client_.read_reply_form().open(batch.reply);
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
