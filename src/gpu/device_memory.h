// DeviceMemory: GPU memory of a program's own, with copies that wait. For benches: the library
// itself allocates none. Any thread.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/status.h"
#include "gpu/cuda_driver.h"

namespace gd2fs {

class DeviceMemory {
 public:
  // In the primary context of the device, which it retains. unsupported: no driver or no such
  // device.
  static Result<DeviceMemory> allocate(int device, uint64_t length_bytes);
  DeviceMemory(DeviceMemory&& other) noexcept;
  DeviceMemory& operator=(DeviceMemory&&) = delete;
  ~DeviceMemory();

  std::byte* data() const {
    return reinterpret_cast<std::byte*>(pointer_);  // NOLINT(performance-no-int-to-ptr)
  }
  Status upload(uint64_t offset, ConstBytes from);
  Status download(uint64_t offset, Bytes to);

 private:
  DeviceMemory() = default;
  const cuda::Driver* driver_ = nullptr;
  cuda::Device device_ = 0;
  cuda::Context context_ = nullptr;  // nullptr: moved from
  cuda::Pointer pointer_ = 0;
};

}  // namespace gd2fs
