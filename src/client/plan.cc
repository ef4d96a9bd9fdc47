#include "client/plan.h"

#include <algorithm>
#include <cerrno>

#include "base/check.h"
#include "wire/placement.h"

namespace gd2fs::client {
namespace {

PlannedBatch* batch_of(Plan* out, size_t first, uint32_t group) {
  for (size_t i = first; i < out->size(); ++i) {
    if ((*out)[i].group == group) return &(*out)[i];
  }
  return nullptr;
}

}  // namespace

bool plan_short(const PlanLayout& layout, uint64_t offset, uint64_t length, uint64_t* planned,
                PlannedBatch* out) {
  const uint64_t at = offset + *planned;
  const uint64_t left = length - *planned;
  const uint64_t chunk = at >> layout.chunk_log2;
  const uint64_t offset_bytes = at - (chunk << layout.chunk_log2);
  const uint64_t chunk_bytes = uint64_t{1} << layout.chunk_log2;
  if (left == 0 || left > chunk_bytes - offset_bytes || chunk > UINT32_MAX) return false;
  out->pieces.emplace_back(*planned, static_cast<uint32_t>(chunk),
                           static_cast<uint32_t>(offset_bytes), static_cast<uint32_t>(left));
  out->group = group_of(layout.inode, static_cast<uint32_t>(chunk), layout.group_count);
  out->length_bytes = left;
  *planned = length;
  return true;
}

Status plan_stretch(const PlanLayout& layout, uint64_t offset, uint64_t length, uint64_t* planned,
                    Plan* out) {
  CHECK(layout.group_count > 0 && *planned <= length);
  const uint64_t chunk_bytes = uint64_t{1} << layout.chunk_log2;
  const size_t first = out->size();
  while (*planned < length) {
    const uint64_t at = offset + *planned;
    const uint64_t chunk = at >> layout.chunk_log2;
    if (chunk > UINT32_MAX) {
      return {StatusCode::invalid, "the file would have more than 2^32 chunks", EFBIG};
    }
    Piece piece;
    piece.request_offset = *planned;
    piece.chunk = static_cast<uint32_t>(chunk);
    piece.offset_bytes = static_cast<uint32_t>(at & (chunk_bytes - 1));
    piece.length_bytes =
        static_cast<uint32_t>(std::min(chunk_bytes - piece.offset_bytes, length - *planned));
    const uint32_t group = group_of(layout.inode, piece.chunk, layout.group_count);
    PlannedBatch* batch = batch_of(out, first, group);
    if (batch == nullptr) {
      batch = &out->emplace_back();
      batch->group = group;
    } else if (batch->length_bytes + piece.length_bytes > layout.batch_bytes ||
               batch->pieces.size() == kPiecesMax) {
      break;  // the first full batch ends the stretch
    }
    batch->pieces.push_back(piece);
    batch->length_bytes += piece.length_bytes;
    *planned += piece.length_bytes;
  }
  return {};
}

}  // namespace gd2fs::client
