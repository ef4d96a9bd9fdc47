#include "gpu/copy_plan.h"

#include <algorithm>

namespace gd2fs::cuda {
namespace {

// Compared as numbers: the two need not be of one array.
uint64_t address(const std::byte* host) {
  return reinterpret_cast<uintptr_t>(host);
}

bool joins(const GpuPiece& before, const GpuPiece& piece) {
  return before.mapping == piece.mapping && before.region == piece.region &&
         address(before.host) + before.length_bytes == address(piece.host) &&
         before.gpu + before.length_bytes == piece.gpu;
}

std::vector<GpuPiece> merge(const std::vector<GpuPiece>& pieces) {
  std::vector<GpuPiece> merged;
  for (const GpuPiece& piece : pieces) {
    if (piece.length_bytes == 0) continue;
    if (!merged.empty() && joins(merged.back(), piece)) {
      merged.back().length_bytes += piece.length_bytes;
    } else {
      merged.push_back(piece);
    }
  }
  return merged;
}

void cut(GpuPiece piece, std::vector<GpuPiece>* tiles) {
  while (piece.length_bytes > 0) {
    GpuPiece tile = piece;
    tile.length_bytes = std::min(piece.length_bytes, kTileBytes);
    tiles->push_back(tile);
    piece.host += tile.length_bytes;
    piece.gpu += tile.length_bytes;
    piece.length_bytes -= tile.length_bytes;
  }
}

}  // namespace

CopyPlan plan_copy(const std::vector<GpuPiece>& pieces, bool has_kernel) {
  CopyPlan plan;
  std::vector<GpuPiece> merged = merge(pieces);
  const auto is_short = [](const GpuPiece& piece) { return piece.length_bytes < kEngineMinBytes; };
  const auto shorts = static_cast<size_t>(std::ranges::count_if(merged, is_short));
  if (!has_kernel || shorts <= kEnginePiecesMax) {
    plan.engine = std::move(merged);
    return plan;
  }
  for (const GpuPiece& piece : merged) {
    if (is_short(piece)) {
      cut(piece, &plan.tiles);
    } else {
      plan.engine.push_back(piece);
    }
  }
  return plan;
}

}  // namespace gd2fs::cuda
