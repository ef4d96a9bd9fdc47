// Shared memory between a server and one client: memfds that the server makes and seals, and their
// mappings. Each side checks what the other could have made wrong.
//
//   ShmSegment   two rings, for the frames of one session (shm_ring.h)
//   staging      slots into which the client puts the bytes of its writes
//   arenas       slab memory, read-only for the client (base/shared_arena.h)
//
// Mappings are not inherited by a fork. Any thread.
#pragma once

#include <utility>

#include "base/bytes.h"
#include "base/descriptor.h"
#include "fabric/shm_ring.h"
#include "wire/frame.h"

namespace gd2fs {

inline constexpr uint64_t kRingBytes = 256 * kKiB;
inline constexpr uint32_t kStagingSlots = 32;
inline constexpr uint64_t kStagingSlotBytes = kStripeDefaultBytes;
inline constexpr uint64_t kStagingBytes = kStagingSlots * kStagingSlotBytes;

class SharedMapping {
 public:
  enum class Access : uint8_t { read_only, read_write };
  SharedMapping() = default;
  SharedMapping(SharedMapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        length_bytes_(std::exchange(other.length_bytes_, 0)) {}
  SharedMapping& operator=(SharedMapping&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(length_bytes_, other.length_bytes_);
    return *this;
  }
  ~SharedMapping();
  static Result<SharedMapping> map(int fd, size_t length_bytes, Access access);

  std::byte* data() const { return data_; }
  size_t length_bytes() const { return length_bytes_; }

 private:
  std::byte* data_ = nullptr;
  size_t length_bytes_ = 0;
};

// A memfd of that length which nobody can make longer or shorter.
Result<Descriptor> make_shared_memory(const char* name, size_t length_bytes);
// invalid unless the descriptor is such a memfd, of exactly this length: memory that its maker
// could cut off would end our process with SIGBUS.
Status check_shared_memory(int fd, size_t length_bytes);

struct ShmSegment {
  static constexpr size_t kControlBytes = 4096;
  static constexpr size_t kTotalBytes = kControlBytes + 2 * kRingBytes;
  SharedMapping memory;

  RingControl& to_server() const { return *reinterpret_cast<RingControl*>(memory.data()); }
  RingControl& to_client() const {
    return *reinterpret_cast<RingControl*>(memory.data() + sizeof(RingControl));
  }
  std::byte* to_server_data() const { return memory.data() + kControlBytes; }
  std::byte* to_client_data() const { return memory.data() + kControlBytes + kRingBytes; }
};

}  // namespace gd2fs
