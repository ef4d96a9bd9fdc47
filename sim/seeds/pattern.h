// The bytes of simulated writes: each write has its own, which depend on where in the file they
// lie, so that whoever reads them knows who wrote them, and that they are in the right place. Pure.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace gd2fs::sim {

// What write number `id` (>= 1) puts at `offset` of its file.
void fill_pattern(uint64_t id, uint64_t offset, Bytes out);
bool is_pattern(uint64_t id, uint64_t offset, ConstBytes bytes);
bool all_zeros(ConstBytes bytes);

}  // namespace gd2fs::sim
