// try_read: whether a NIC reaches memory that it has registered. A registration of GPU memory may
// be taken although no byte passes between NIC and GPU (ACS, an IOMMU, sockets that do not
// forward); a write to it would be lost without a word, a read fails. So the NIC is asked to read
// some bytes of it, over two queue pairs of its own that are connected to each other, and host
// memory before.
#pragma once

#include "verbs/nic.h"

namespace gd2fs::verbs {

enum class Reach : uint8_t {
  reached,
  refused,  // though the same way leads to host memory
  unsure,   // the port is down, or the NIC does not speak to itself
};

// `region` was registered for peers, at `address` and 8 bytes at least. Blocks for less than a
// millisecond, or kTryMaxMs where no answer comes. Any thread.
inline constexpr int kTryMaxMs = 3000;
Reach try_read(const std::shared_ptr<const Nic>& nic, const MemoryRegion& region,
               const void* address);

}  // namespace gd2fs::verbs
