#include "client/advise_operation.h"

#include <algorithm>

#include "client/client.h"

namespace gd2fs::client {
namespace {

// Small enough for progress to be seen while a slow drive fills the memory.
constexpr uint64_t kPrefetchBatchBytes = 16 * kMiB;
constexpr uint64_t kQueryBatchBytes = 1 * kGiB;

}  // namespace

uint64_t AdviseOperation::batch_bytes() const {
  return prefetch() ? kPrefetchBatchBytes : kQueryBatchBytes;
}

void AdviseOperation::begin() {
  // What a file is now decides, not what was known of it.
  if (layout_->asked <= born_) return resolve(true, born_);
  const uint64_t left =
      layout_->size_bytes > request_.offset ? layout_->size_bytes - request_.offset : 0;
  generation_ = layout_->generation;
  resident_bytes_ = 0;
  start_batches(request_.advice_bytes == 0 ? left : std::min(request_.advice_bytes, left));
}

Result<ConstBytes> AdviseOperation::compose(Batch& batch, Link& link,
                                            flatbuffers::FlatBufferBuilder& builder) {
  const uint32_t handle = use_handle(link, *layout_);
  std::vector<msg::ReadPiece> pieces;
  pieces.reserve(batch.plan.pieces.size());
  for (const Piece& piece : batch.plan.pieces) {
    pieces.emplace_back(0, piece.chunk, piece.offset_bytes, piece.length_bytes, 0);
  }
  batch.generation = generation_;
  const auto vector = builder.CreateVectorOfStructs(pieces);
  const uint64_t epoch = client_.map()->groups[batch.plan.group].epoch;
  if (prefetch()) {
    return finish_body(builder,
                       msg::CreatePrefetch(builder, handle, generation_, layout_->namespace_epoch,
                                           batch.plan.group, epoch, vector));
  }
  return finish_body(builder,
                     msg::CreateResidency(builder, handle, generation_, layout_->namespace_epoch,
                                          batch.plan.group, epoch, vector));
}

Status AdviseOperation::on_batch_ok(Batch& batch) {
  Status malformed(StatusCode::io, "the server's answer is malformed");
  uint64_t bytes = 0;
  if (prefetch()) {
    const auto* reply = open_body<msg::PrefetchReply>(batch.reply);
    if (reply == nullptr) return malformed;
    bytes = reply->resident_bytes();
  } else {
    const auto* reply = open_body<msg::ResidencyReply>(batch.reply);
    if (reply == nullptr) return malformed;
    bytes = reply->resident_bytes();
  }
  if (bytes > batch.plan.length_bytes) return malformed;
  resident_bytes_ += bytes;
  return {};
}

void AdviseOperation::on_batches_done() {
  finish(resident_bytes_);
}

void AdviseOperation::start_over() {
  done_bytes_ = 0;
  resolve_after_stale();
}

}  // namespace gd2fs::client
