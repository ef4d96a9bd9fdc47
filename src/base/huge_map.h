// Mapping a memfd so that its huge pages can be huge in our page table too: at a multiple of their
// size. Any thread.
#pragma once

#include <cstddef>

#include "base/bytes.h"

namespace gd2fs {

inline constexpr size_t kHugePageBytes = 2 * kMiB;

// Shared; MAP_FAILED with errno.
void* map_at_huge_page(int fd, size_t length_bytes, int protection);

}  // namespace gd2fs
