#include "wire/placement.h"

#include "base/check.h"
#include "base/random.h"

namespace gd2fs {

uint32_t group_of(uint64_t inode, uint32_t chunk, uint32_t group_count) {
  CHECK(group_count > 0);
  if (group_count == 1) return 0;
  const uint64_t run = chunk / group_count;
  const uint64_t start = mix64(mix64(inode) + run) % group_count;
  return static_cast<uint32_t>((start + chunk % group_count) % group_count);
}

}  // namespace gd2fs
