#include "base/huge_map.h"

#include <cerrno>
#include <cstdint>

#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25  // Linux 6.1
#endif

namespace gd2fs {

void* map_at_huge_page(int fd, size_t length_bytes, int protection) {
  const size_t room_bytes = length_bytes + kHugePageBytes;
  void* const room =
      mmap(nullptr, room_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return room;
  auto* const begin = static_cast<std::byte*>(room);
  const size_t skip_bytes = -reinterpret_cast<uintptr_t>(begin) % kHugePageBytes;
  std::byte* const data = begin + skip_bytes;
  void* const mapped = mmap(data, length_bytes, protection, MAP_SHARED | MAP_FIXED, fd, 0);
  if (mapped == MAP_FAILED) {
    const int error = errno;
    munmap(room, room_bytes);
    errno = error;
    return MAP_FAILED;
  }
  if (skip_bytes > 0) munmap(begin, skip_bytes);
  std::byte* const end = data + align_up(length_bytes, uint64_t{4096});
  if (begin + room_bytes > end) munmap(end, static_cast<size_t>(begin + room_bytes - end));
  return mapped;
}

int take_huge_page(std::byte* begin) {
  // One small page is there first; the huge one takes its place and that of the holes.
  if (madvise(begin, 4096, MADV_POPULATE_WRITE) != 0) return errno;
  return madvise(begin, kHugePageBytes, MADV_COLLAPSE) != 0 ? errno : 0;
}

}  // namespace gd2fs
