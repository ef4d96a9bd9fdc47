#include "gpu/device_memory.h"

#include <utility>

namespace gd2fs {

using cuda::Current;
using cuda::Driver;
using cuda::Error;
using cuda::kSuccess;

Result<DeviceMemory> DeviceMemory::allocate(int device, uint64_t length_bytes) {
  DeviceMemory memory;
  GD2FS_ASSIGN(memory.driver_, Driver::get());
  const Driver& driver = *memory.driver_;
  if (driver.device_get(&memory.device_, device) != kSuccess) {
    return fail(StatusCode::unsupported, "no GPU has this number");
  }
  const Error retained = driver.primary_context_retain(&memory.context_, memory.device_);
  if (retained != kSuccess) return fail(driver.failure(retained, "cuDevicePrimaryCtxRetain"));
  const Current current(driver, memory.context_);
  Error error = current.error();
  if (error == kSuccess) error = driver.memory_alloc(&memory.pointer_, length_bytes);
  if (error != kSuccess) return fail(driver.failure(error, "cuMemAlloc"));
  return memory;
}

DeviceMemory::DeviceMemory(DeviceMemory&& other) noexcept
    : driver_(other.driver_),
      device_(other.device_),
      context_(std::exchange(other.context_, nullptr)),
      pointer_(other.pointer_) {}

DeviceMemory::~DeviceMemory() {
  if (context_ == nullptr) return;
  {
    const Current current(*driver_, context_);
    if (current.error() == kSuccess && pointer_ != 0) (void)driver_->memory_free(pointer_);
  }
  (void)driver_->primary_context_release(device_);
}

Status DeviceMemory::upload(uint64_t offset, ConstBytes from) {
  const Current current(*driver_, context_);
  Error error = current.error();
  if (error == kSuccess) {
    error = driver_->copy_to_device_now(pointer_ + offset, from.data(), from.size());
  }
  return error == kSuccess ? Status() : driver_->failure(error, "cuMemcpyHtoD");
}

Status DeviceMemory::download(uint64_t offset, Bytes to) {
  const Current current(*driver_, context_);
  Error error = current.error();
  if (error == kSuccess) {
    error = driver_->copy_to_host_now(to.data(), pointer_ + offset, to.size());
  }
  return error == kSuccess ? Status() : driver_->failure(error, "cuMemcpyDtoH");
}

}  // namespace gd2fs
