// TestCuda: what tests need of a CUDA driver beside what src/gpu has: device memory to copy to, and
// the controls of the fake.
//
// Tests run on the fake driver (tests/fake_cuda) unless GD2FS_TEST_REAL_GPU=1 is set; then they run
// on the machine's own, and those that need the fake's controls are skipped.
#pragma once

#include <cstdlib>
#include <dlfcn.h>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "gpu/cuda_driver.h"
#include "tests/fake_cuda/fake_cuda.h"

namespace gd2fs::cuda {

inline bool on_real_gpu() {
  const char* real = std::getenv("GD2FS_TEST_REAL_GPU");  // NOLINT(concurrency-mt-unsafe)
  return real != nullptr && *real == '1';
}

class TestCuda {
 public:
  static TestCuda& instance() {
    static TestCuda cuda;
    return cuda;
  }

  // nullptr where the real driver is in use.
  bool fake() const { return get_counts != nullptr; }
  fake_cuda_counts counts() const {
    fake_cuda_counts counts{};
    get_counts(&counts);
    return counts;
  }

  const Driver* driver = nullptr;  // nullptr: there is none, and why is in `reason`
  std::string reason;
  int devices = 0;

  Error (*context_create)(Context* context, unsigned flags, Device device) = nullptr;
  Error (*context_destroy)(Context context) = nullptr;
  Error (*primary_context_reset)(Device device) = nullptr;
  Error (*memory_alloc_managed)(Pointer* pointer, size_t length, unsigned flags) = nullptr;
  Error (*memory_info)(size_t* free, size_t* total) = nullptr;
  Error (*stream_begin_capture)(Stream stream, int mode) = nullptr;
  Error (*stream_end_capture)(Stream stream, void** graph) = nullptr;
  Error (*address_reserve)(Pointer* pointer, size_t length, size_t alignment, Pointer hint,
                           unsigned long long flags) = nullptr;
  Error (*address_free)(Pointer pointer, size_t length) = nullptr;
  Error (*physical_create)(unsigned long long* handle, size_t length, const void* properties,
                           unsigned long long flags) = nullptr;
  Error (*physical_release)(unsigned long long handle) = nullptr;
  Error (*memory_map)(Pointer pointer, size_t length, size_t offset, unsigned long long handle,
                      unsigned long long flags) = nullptr;
  Error (*memory_unmap)(Pointer pointer, size_t length) = nullptr;
  Error (*memory_set_access)(Pointer pointer, size_t length, const void* access,
                             size_t count) = nullptr;

  void (*set_delay_ns)(uint64_t delay_ns) = nullptr;
  void (*hold)(int held) = nullptr;
  void (*refuse_copies)(int count, int error) = nullptr;
  void (*refuse_streams)(int error) = nullptr;
  void (*refuse_events)(int error) = nullptr;
  void (*refuse_registrations)(uint64_t at_least_bytes, int error) = nullptr;
  void (*break_next)(int error) = nullptr;
  uint64_t (*queued)() = nullptr;
  void (*set_nic_ordering)(int ordering) = nullptr;
  void (*get_counts)(fake_cuda_counts* counts) = nullptr;

 private:
  TestCuda() {
    if (!on_real_gpu()) setenv("GD2FS_CUDA_LIBRARY", GD2FS_FAKE_CUDA, 0);  // NOLINT
    const Result<const Driver*> loaded = Driver::get();
    if (!loaded.has_value()) {
      reason = loaded.error().to_string();
      return;
    }
    driver = *loaded;
    (void)driver->device_get_count(&devices);
    const char* named = std::getenv("GD2FS_CUDA_LIBRARY");  // NOLINT(concurrency-mt-unsafe)
    void* library = dlopen(named != nullptr ? named : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    const auto find = [&](const char* name, auto* out) {
      *out = reinterpret_cast<std::remove_pointer_t<decltype(out)>>(dlsym(library, name));
    };
    find("cuCtxCreate_v2", &context_create);
    find("cuCtxDestroy_v2", &context_destroy);
    find("cuDevicePrimaryCtxReset_v2", &primary_context_reset);
    find("cuMemAllocManaged", &memory_alloc_managed);
    find("cuMemGetInfo_v2", &memory_info);
    find("cuStreamBeginCapture_v2", &stream_begin_capture);
    find("cuStreamEndCapture", &stream_end_capture);
    find("cuMemAddressReserve", &address_reserve);
    find("cuMemAddressFree", &address_free);
    find("cuMemCreate", &physical_create);
    find("cuMemRelease", &physical_release);
    find("cuMemMap", &memory_map);
    find("cuMemUnmap", &memory_unmap);
    find("cuMemSetAccess", &memory_set_access);
    find("fake_cuda_set_delay_ns", &set_delay_ns);
    find("fake_cuda_hold", &hold);
    find("fake_cuda_refuse_copies", &refuse_copies);
    find("fake_cuda_refuse_streams", &refuse_streams);
    find("fake_cuda_refuse_events", &refuse_events);
    find("fake_cuda_refuse_registrations", &refuse_registrations);
    find("fake_cuda_break_next", &break_next);
    find("fake_cuda_queued", &queued);
    find("fake_cuda_set_nic_ordering", &set_nic_ordering);
    find("fake_cuda_get_counts", &get_counts);
  }
};

// The application's side: a primary context that it holds, as PyTorch does.
class TestContext {
 public:
  explicit TestContext(Device device = 0) : device_(device) {
    const Driver* driver = TestCuda::instance().driver;
    EXPECT_EQ(driver->primary_context_retain(&context_, device), kSuccess);
  }
  ~TestContext() { (void)TestCuda::instance().driver->primary_context_release(device_); }
  TestContext(const TestContext&) = delete;
  TestContext& operator=(const TestContext&) = delete;
  Context get() const { return context_; }

 private:
  Device device_;
  Context context_ = nullptr;
};

// Device memory of a context, which must outlive it.
class TestMemory {
 public:
  TestMemory(Context context, size_t length) : context_(context), length_(length) {
    const Current current(*cuda().driver, context);
    EXPECT_EQ(cuda().driver->memory_alloc(&pointer_, length), kSuccess);
  }
  ~TestMemory() {
    const Current current(*cuda().driver, context_);
    if (current.error() == kSuccess) (void)cuda().driver->memory_free(pointer_);
  }
  TestMemory(const TestMemory&) = delete;
  TestMemory& operator=(const TestMemory&) = delete;

  std::byte* data() const {
    return reinterpret_cast<std::byte*>(pointer_);  // NOLINT(performance-no-int-to-ptr)
  }
  size_t size() const { return length_; }
  void set(const std::vector<std::byte>& bytes) const { set(data(), bytes); }
  std::vector<std::byte> get() const { return get(data(), length_); }

  void set(std::byte* at, const std::vector<std::byte>& bytes) const {
    const Current current(*cuda().driver, context_);
    EXPECT_EQ(cuda().driver->copy_to_device_now(reinterpret_cast<Pointer>(at), bytes.data(),
                                                bytes.size()),
              kSuccess);
  }
  std::vector<std::byte> get(std::byte* at, size_t length) const {
    std::vector<std::byte> bytes(length);
    const Current current(*cuda().driver, context_);
    EXPECT_EQ(cuda().driver->copy_to_host_now(bytes.data(), reinterpret_cast<Pointer>(at), length),
              kSuccess);
    return bytes;
  }

 private:
  static TestCuda& cuda() { return TestCuda::instance(); }
  Context context_;
  size_t length_;
  Pointer pointer_ = 0;
};

inline std::vector<std::byte> random_bytes(Random& random, size_t length) {
  std::vector<std::byte> bytes(length);
  random.fill(bytes);
  return bytes;
}

}  // namespace gd2fs::cuda

#define GD2FS_NEEDS_CUDA()                                                      \
  do {                                                                          \
    if (::gd2fs::cuda::TestCuda::instance().driver == nullptr) {                \
      ASSERT_TRUE(::gd2fs::cuda::on_real_gpu())                                 \
          << "the fake driver: " << ::gd2fs::cuda::TestCuda::instance().reason; \
      GTEST_SKIP() << ::gd2fs::cuda::TestCuda::instance().reason;               \
    }                                                                           \
  } while (0)
#define GD2FS_NEEDS_FAKE_CUDA()                                                                   \
  do {                                                                                            \
    GD2FS_NEEDS_CUDA();                                                                           \
    if (!::gd2fs::cuda::TestCuda::instance().fake()) GTEST_SKIP() << "only with the fake driver"; \
  } while (0)
