// MovedBytes: what a ctx's reads and writes have moved since it was opened, by
// the way the bytes took. Belongs to the client's loop.
#pragma once

#include <cstdint>

namespace gd2fs::client {

struct MovedBytes {
  // Between a server and host memory of the application.
  uint64_t host_read_bytes = 0;
  uint64_t host_write_bytes = 0;
  // Between memory that a server on this host shares with us and a GPU.
  uint64_t gpu_straight_read_bytes = 0;
  uint64_t gpu_straight_write_bytes = 0;
  // Between a server and a GPU, by NICs alone.
  uint64_t gpu_nic_read_bytes = 0;
  uint64_t gpu_nic_write_bytes = 0;
  // To and from a GPU through the pinned ring; holes too.
  uint64_t gpu_ring_read_bytes = 0;
  uint64_t gpu_ring_write_bytes = 0;
};

}  // namespace gd2fs::client
