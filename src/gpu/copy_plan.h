// CopyPlan: how the pieces of a GpuCopy travel. Neighbours are merged; what is long goes by the
// copy engine, one driver call each; many short pieces go by the gather/scatter kernel, cut into
// tiles. The border is measured: docs/decisions/020-gpu-copies.md. Pure; any thread.
#pragma once

#include <cstdint>
#include <vector>

#include "gpu/gpu.h"

namespace gd2fs::cuda {

// From here on the copy engine is faster. H100, PCIe 5 x16, GB/s by engine and by kernel, to the
// GPU: 256 KiB 35 and 50, 1 MiB 46 and 50, 2 MiB 51.2 and 50.4, 4 MiB 53 and 50.5; back it is the
// same.
inline constexpr uint64_t kEngineMinBytes = 2 << 20;
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
