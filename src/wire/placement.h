// Placement: which group of servers keeps a chunk. A pure function that clients, servers and
// controllers compute alike; its values are frozen by golden tests and may never change. (Version 1
// of a file's layout_version; another rule gets another number.)
//
// Each run of group_count consecutive chunks of a file touches every group once, so that a big read
// spreads evenly; where a run begins depends on inode and run, so that small files spread too and
// readers with a stride do not all meet at one group.
#pragma once

#include <cstdint>

namespace gd2fs {

// group_count >= 1; the answer is below it.
uint32_t group_of(uint64_t inode, uint32_t chunk, uint32_t group_count);

}  // namespace gd2fs
