// Plan: cuts a request's range of a file into batches, each for one group of servers.
//
// A piece is the part of one chunk that the request covers; it is never cut further, so that a
// chunk's bytes come from (or become) one version. A batch is what one read or write message
// carries: pieces of one group, at most kBatchBytes together (a bigger piece travels alone) and at
// most kPiecesMax. (Requests that move no bytes, and some reads, make bigger batches.) The range is
// planned a stretch at a time, so that a request of a terabyte costs no more memory than what is in
// flight. Pure; any thread.
#pragma once

#include <cstdint>

#include "base/small_vector.h"
#include "base/status.h"
#include "wire/frame.h"

namespace gd2fs::client {

inline constexpr uint64_t kBatchBytes = 8 << 20;
// Of a read from a server on this host into a GPU, behind the first kSmallBatchesBytes.
inline constexpr uint64_t kLargeBatchBytes = 32 << 20;
inline constexpr uint64_t kSmallBatchesBytes = 64 << 20;

struct Piece {
  uint64_t request_offset = 0;  // of its first byte, from the start of the request
  uint32_t chunk = 0;
  uint32_t offset_bytes = 0;  // within the chunk
  uint32_t length_bytes = 0;
};

struct PlannedBatch {
  uint32_t group = 0;
  uint64_t length_bytes = 0;
  SmallVector<Piece, 2> pieces;  // in file order
};

using Plan = SmallVector<PlannedBatch, 1>;

// What the plan needs to know of a file.
struct PlanLayout {
  uint64_t inode = 0;
  uint8_t chunk_log2 = 0;
  uint32_t group_count = 1;
  uint64_t batch_bytes = kBatchBytes;
};

// The rest of the request in one batch of one piece, if one chunk has all of it: most requests are
// short. False, and nothing is changed: plan_stretch() will tell.
bool plan_short(const PlanLayout& layout, uint64_t offset, uint64_t length, uint64_t* planned,
                PlannedBatch* out);

// Plans the next stretch of the request [offset, offset + length) of the file, from `*planned`
// bytes on; adds its batches to `out` in the order of their first piece and moves *planned on. The
// caller calls again until *planned == length. invalid (EFBIG): a chunk number over 32 bits.
Status plan_stretch(const PlanLayout& layout, uint64_t offset, uint64_t length, uint64_t* planned,
                    Plan* out);

}  // namespace gd2fs::client
