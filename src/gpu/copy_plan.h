// CopyPlan: how the pieces of a GpuCopy travel. Neighbours are merged; what is long goes by the
// copy engine, one driver call each; many short pieces go by the gather/scatter kernel, cut into
// tiles. The border is measured: docs/decisions/020-gpu-copies.md. Pure; any thread.
#pragma once

#include <cstdint>
#include <vector>

#include "gpu/gpu.h"

namespace gd2fs::cuda {

// From here on the copy engine is faster than the kernel's share of the link.
inline constexpr uint64_t kEngineMinBytes = 1 << 20;
// So few short pieces cost less as copies than a launch does.
inline constexpr size_t kEnginePiecesMax = 2;
inline constexpr uint64_t kTileBytes = 16 << 10;

struct CopyPlan {
  std::vector<GpuPiece> engine;
  std::vector<GpuPiece> tiles;  // each at most kTileBytes
};

// `has_kernel` false: everything goes by the engine.
CopyPlan plan_copy(const std::vector<GpuPiece>& pieces, bool has_kernel);

}  // namespace gd2fs::cuda
