// Huge pages of a memfd: made in place, whatever the system's setting for shared memory is, and
// mapped so that they can be huge in our page table too: at a multiple of their size. Any thread.
#pragma once

#include <cstddef>

#include "base/bytes.h"

namespace gd2fs {

inline constexpr size_t kHugePageBytes = 2 * kMiB;

// Shared; MAP_FAILED with errno.
void* map_at_huge_page(int fd, size_t length_bytes, int protection);

// Gives the kHugePageBytes from `begin` (a multiple of that) of such a mapping one huge page; bytes
// that are there already stay, also while others use them. 0, or errno: EINVAL where the system
// cannot do it (before Linux 6.1), others where it has none at hand or a transfer holds the memory.
// Blocks: 0.2 ms, and much longer while the system looks for memory in one piece.
int take_huge_page(std::byte* begin);

}  // namespace gd2fs
