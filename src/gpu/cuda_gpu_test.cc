// What an address is, and copies that go well: on the fake driver and on real ones.
#include "gpu/cuda_gpu.h"

#include <algorithm>
#include <cstring>
#include <thread>
#include <unistd.h>

#include "base/log.h"
#include "gpu/gpu_fixture.h"

namespace gd2fs {
namespace {

using cuda::Context;
using cuda::Current;
using cuda::kSuccess;
using cuda::TestContext;
using cuda::TestMemory;

using CudaGpuTest = GpuFixture;

TEST_F(CudaGpuTest, memory_of_a_gpu_is_found_with_its_device_and_host_memory_is_host_memory) {
  GD2FS_NEEDS_CUDA();
  for (int device = 0; device < std::min(cuda().devices, 2); ++device) {
    const TestContext context(device);
    const TestMemory memory(context.get(), 1 << 20);
    const auto found = gpu_.find(memory.data() + 5, 1000);
    ASSERT_TRUE(found.has_value()) << found.error().to_string();
    EXPECT_EQ(found->kind, MemoryKind::device);
    EXPECT_EQ(found->device, device);
    EXPECT_NE(found->target, kHostTarget);
    EXPECT_EQ(gpu_.find(memory.data(), 1 << 20)->target, found->target);
    // Past the end there is something else or nothing.
    EXPECT_FALSE(gpu_.find(memory.data(), uint64_t{1} << 40).has_value());
  }
  std::byte on_stack[64];
  EXPECT_EQ(gpu_.find(on_stack, sizeof on_stack)->kind, MemoryKind::host);
}

TEST_F(CudaGpuTest, managed_memory_is_told_apart_and_the_cpu_can_use_it) {
  GD2FS_NEEDS_CUDA();
  const TestContext context;
  const Current current(*cuda().driver, context.get());
  cuda::Pointer pointer = 0;
  ASSERT_EQ(cuda().memory_alloc_managed(&pointer, 1 << 20, 1), kSuccess);
  auto* bytes = reinterpret_cast<std::byte*>(pointer);  // NOLINT(performance-no-int-to-ptr)
  EXPECT_EQ(gpu_.find(bytes, 1 << 20)->kind, MemoryKind::managed);
  bytes[5] = std::byte{7};
  EXPECT_EQ(bytes[5], std::byte{7});
  (void)cuda().driver->memory_free(pointer);
}

// Any number of pieces of any length and alignment, both ways, beside canaries.
TEST_F(CudaGpuTest, lists_of_any_shape_arrive_whole_and_nothing_else_is_touched) {
  GD2FS_NEEDS_CUDA();
  const TestContext context;
  constexpr size_t kLength = 24 << 20;
  const TestMemory memory(context.get(), kLength);
  const HostMemory host(kLength);
  const GpuTarget target = gpu_.find(memory.data(), kLength)->target;
  const auto mapping = gpu_.map_host(target, host.data(), host.size(), Gpu::Access::read_write);
  ASSERT_TRUE(mapping.has_value()) << mapping.error().to_string();
  Random random(7);
  for (int round = 0; round < 12; ++round) {
    const bool to_gpu = round % 2 == 0;
    const auto before = cuda::random_bytes(random, kLength);
    const auto source = cuda::random_bytes(random, kLength);
    std::memcpy(host.data(), to_gpu ? source.data() : before.data(), kLength);
    memory.set(to_gpu ? before : source);
    TestCopy copy(to_gpu ? GpuCopy::Direction::to_gpu : GpuCopy::Direction::from_gpu, target);
    auto expected = before;
    const uint64_t longest = round < 4 ? 300 : round < 8 ? 100'000 : 3 << 20;
    uint64_t host_at = 0, gpu_at = 0;
    for (;;) {
      const uint64_t length = random.between(1, longest);
      if (random.chance(2, 3)) host_at += random.below(40), gpu_at += random.below(40);
      if (host_at + length > kLength || gpu_at + length > kLength) break;
      copy.pieces.push_back(
          {host.data() + host_at, memory.data() + gpu_at, length, (*mapping)->number(), 1});
      const uint64_t from = to_gpu ? host_at : gpu_at;
      std::memcpy(expected.data() + (to_gpu ? gpu_at : host_at), source.data() + from, length);
      host_at += length, gpu_at += length;
    }
    ASSERT_TRUE(run(copy).ok()) << copy.status().to_string();
    const auto got =
        to_gpu ? memory.get() : std::vector<std::byte>(host.data(), host.data() + kLength);
    ASSERT_TRUE(got == expected) << "round " << round << ", " << copy.pieces.size() << " pieces";
  }
}

TEST_F(CudaGpuTest, a_copy_of_nothing_completes) {
  GD2FS_NEEDS_CUDA();
  const TestContext context;
  const TestMemory memory(context.get(), 4096);
  TestCopy copy(GpuCopy::Direction::to_gpu, gpu_.find(memory.data(), 1)->target);
  gpu_.copy(copy);
  EXPECT_FALSE(copy.ended);  // never inside the call
  EXPECT_TRUE(run_until([&] { return copy.ended; }));
  EXPECT_TRUE(copy.status().ok());
  EXPECT_EQ(loop_.next_timer_ns(), UINT64_MAX);
}

TEST_F(CudaGpuTest, any_thread_with_any_current_context_will_do_and_finds_it_as_it_was) {
  GD2FS_NEEDS_CUDA();
  const TestContext context;
  const TestMemory memory(context.get(), 1 << 20);
  Context other = nullptr;
  ASSERT_EQ(cuda().context_create(&other, 0, cuda().devices - 1), kSuccess);
  const HostMemory host(1 << 20);
  Random random(3);
  const auto bytes = cuda::random_bytes(random, 1 << 20);
  std::memcpy(host.data(), bytes.data(), bytes.size());
  std::thread([&] {  // has no current context
    const auto found = gpu_.find(memory.data(), memory.size());
    ASSERT_TRUE(found.has_value()) << found.error().to_string();
    const auto mapping =
        gpu_.map_host(found->target, host.data(), host.size(), Gpu::Access::read_write);
    ASSERT_TRUE(mapping.has_value());
    TestCopy copy(GpuCopy::Direction::to_gpu, found->target);
    copy.pieces.push_back({host.data(), memory.data(), 1 << 20, (*mapping)->number(), 1});
    EXPECT_TRUE(run(copy).ok());
    Context now = other;
    (void)cuda().driver->context_get_current(&now);
    EXPECT_EQ(now, nullptr);
  })
      .join();
  EXPECT_EQ(memory.get(), bytes);
  const auto found = gpu_.find(memory.data(), memory.size());  // with another's context current
  EXPECT_TRUE(found.has_value());
  Context now = nullptr;
  (void)cuda().driver->context_get_current(&now);
  EXPECT_EQ(now, other);
  (void)cuda().context_destroy(other);
}

TEST_F(CudaGpuTest, memory_of_an_application_context_is_used_in_that_context) {
  GD2FS_NEEDS_CUDA();
  Context own = nullptr;
  ASSERT_EQ(cuda().context_create(&own, 0, 0), kSuccess);
  int active_before = 0, active_after = 0;
  unsigned flags = 0;
  (void)cuda().driver->primary_context_get_state(0, &flags, &active_before);
  {
    CudaGpu gpu(loop_);
    const TestMemory memory(own, 1 << 20);
    const HostMemory host(1 << 20);
    const auto found = gpu.find(memory.data(), memory.size());
    ASSERT_TRUE(found.has_value()) << found.error().to_string();
    const auto mapping =
        gpu.map_host(found->target, host.data(), host.size(), Gpu::Access::read_write);
    ASSERT_TRUE(mapping.has_value());
    std::memset(host.data(), 0x5a, host.size());
    TestCopy copy(GpuCopy::Direction::to_gpu, found->target);
    for (uint64_t i = 0; i < 64; ++i) {  // by the kernel, which sees only its own context's memory
      copy.pieces.push_back({host.data() + i * 16384, memory.data() + (63 - i) * 16384, 16384,
                             (*mapping)->number(), 1});
    }
    gpu.copy(copy);
    ASSERT_TRUE(run_until([&] { return copy.ended; }));
    EXPECT_TRUE(copy.status().ok()) << copy.status().to_string();
    EXPECT_EQ(memory.get(), std::vector<std::byte>(1 << 20, std::byte{0x5a}));
  }
  (void)cuda().driver->primary_context_get_state(0, &flags, &active_after);
  EXPECT_EQ(active_before, active_after);  // no context was made
  (void)cuda().context_destroy(own);
}

// A range of CUDA's virtual memory management, of several physical pieces, as PyTorch's expandable
// segments are.
class VmmRange {
 public:
  VmmRange(cuda::TestCuda& cuda, size_t pieces) : cuda_(cuda), length_(pieces * kPiece) {
    struct {
      int type = 1, handle_types = 0, location_type = 1, location_id = 0;
      void* windows = nullptr;
      unsigned char flags[8] = {};
    } properties;
    struct {
      int location_type = 1, location_id = 0, flags = 3;
    } access;
    EXPECT_EQ(cuda_.address_reserve(&begin_, length_, 0, 0, 0), kSuccess);
    for (size_t i = 0; i < pieces; ++i) {
      unsigned long long handle = 0;
      EXPECT_EQ(cuda_.physical_create(&handle, kPiece, &properties, 0), kSuccess);
      EXPECT_EQ(cuda_.memory_map(begin_ + i * kPiece, kPiece, 0, handle, 0), kSuccess);
      (void)cuda_.physical_release(handle);
    }
    EXPECT_EQ(cuda_.memory_set_access(begin_, length_, &access, 1), kSuccess);
  }
  ~VmmRange() {
    (void)cuda_.memory_unmap(begin_, length_);
    (void)cuda_.address_free(begin_, length_);
  }
  VmmRange(const VmmRange&) = delete;
  VmmRange& operator=(const VmmRange&) = delete;
  std::byte* data() const {
    return reinterpret_cast<std::byte*>(begin_);  // NOLINT(performance-no-int-to-ptr)
  }
  size_t size() const { return length_; }

 private:
  static constexpr size_t kPiece = 2 << 20;
  cuda::TestCuda& cuda_;
  size_t length_;
  cuda::Pointer begin_ = 0;
};

TEST_F(CudaGpuTest, a_range_made_of_several_pieces_is_one_range) {
  GD2FS_NEEDS_CUDA();
  const TestContext context;
  const Current current(*cuda().driver, context.get());
  const VmmRange range(cuda(), 4);
  const auto found = gpu_.find(range.data() + 100, range.size() - 100);
  ASSERT_TRUE(found.has_value()) << found.error().to_string();
  EXPECT_EQ(found->kind, MemoryKind::device);
  EXPECT_FALSE(gpu_.find(range.data(), range.size() + 1).has_value());
  const HostMemory host(range.size());
  Random random(5);
  const auto bytes = cuda::random_bytes(random, range.size());
  std::memcpy(host.data(), bytes.data(), bytes.size());
  const auto mapping =
      gpu_.map_host(found->target, host.data(), host.size(), Gpu::Access::read_write);
  TestCopy there(GpuCopy::Direction::to_gpu, found->target);
  there.pieces.push_back({host.data(), range.data(), range.size(), (*mapping)->number(), 1});
  ASSERT_TRUE(run(there).ok()) << there.status().to_string();
  std::memset(host.data(), 0, host.size());
  TestCopy back(GpuCopy::Direction::from_gpu, found->target);
  back.pieces = there.pieces;
  ASSERT_TRUE(run(back).ok()) << back.status().to_string();
  EXPECT_EQ(std::memcmp(host.data(), bytes.data(), bytes.size()), 0);

  const auto exported = gpu_.export_range(range.data() + (2 << 20) - 5000, 12000);
  if (!exported.has_value() && exported.error().is(StatusCode::unsupported)) {
    GTEST_SKIP() << exported.error().to_string();
  }
  ASSERT_TRUE(exported.has_value()) << exported.error().to_string();
  EXPECT_EQ(exported->offset_bytes, 8192u - 5000u);
  if (cuda().fake()) {
    std::vector<std::byte> seen(12000);
    ASSERT_EQ(
        pread(exported->fd, seen.data(), seen.size(), static_cast<off_t>(exported->offset_bytes)),
        12000);
    EXPECT_EQ(std::memcmp(seen.data(), bytes.data() + (2 << 20) - 5000, 12000), 0);
  }
  close(exported->fd);
}

TEST_F(CudaGpuTest, a_read_only_mapping_of_sealed_memory_can_be_copied_from) {
  GD2FS_NEEDS_CUDA();
  const TestContext context;
  const TestMemory memory(context.get(), 1 << 20);
  const GpuTarget target = gpu_.find(memory.data(), 1)->target;
  const int fd = memfd_create("slab", MFD_CLOEXEC);
  ASSERT_EQ(ftruncate(fd, 1 << 20), 0);
  Random random(9);
  const auto bytes = cuda::random_bytes(random, 1 << 20);
  ASSERT_EQ(pwrite(fd, bytes.data(), bytes.size(), 0), 1 << 20);
  void* slab = mmap(nullptr, 1 << 20, PROT_READ, MAP_SHARED, fd, 0);
  ASSERT_NE(slab, MAP_FAILED);
  EXPECT_FALSE(gpu_.map_host(target, slab, 1 << 20, Gpu::Access::read_write).has_value());
  {
    const auto mapping = gpu_.map_host(target, slab, 1 << 20, Gpu::Access::read);
    ASSERT_TRUE(mapping.has_value()) << mapping.error().to_string();
    auto* from = static_cast<std::byte*>(slab);
    TestCopy whole(GpuCopy::Direction::to_gpu, target);
    whole.pieces.push_back({from, memory.data(), 1 << 20, (*mapping)->number(), 1});
    ASSERT_TRUE(run(whole).ok()) << whole.status().to_string();
    EXPECT_EQ(memory.get(), bytes);
    TestCopy scattered(GpuCopy::Direction::to_gpu, target);
    for (uint64_t i = 0; i < 256; ++i) {
      scattered.pieces.push_back(
          {from + i * 4096, memory.data() + (255 - i) * 4096, 4096, (*mapping)->number(), 1});
    }
    ASSERT_TRUE(run(scattered).ok()) << scattered.status().to_string();
    const auto got = memory.get();
    for (uint64_t i = 0; i < 256; ++i) {
      ASSERT_EQ(std::memcmp(&got[(255 - i) * 4096], &bytes[i * 4096], 4096), 0);
    }
  }
  munmap(slab, 1 << 20);
  close(fd);
}

TEST_F(CudaGpuTest, opening_and_closing_leaves_nothing_behind) {
  GD2FS_NEEDS_FAKE_CUDA();
  const TestContext context;
  const TestMemory memory(context.get(), 1 << 20);
  const HostMemory host(1 << 20);
  const auto before = cuda().counts();
  set_log_level(LogLevel::warn);  // a line for each context that is opened
  for (int i = 0; i < 100; ++i) {
    CudaGpu gpu(loop_);
    const GpuTarget target = gpu.find(memory.data(), memory.size())->target;
    const auto mapping = gpu.map_host(target, host.data(), host.size(), Gpu::Access::read_write);
    TestCopy copy(GpuCopy::Direction::to_gpu, target);
    copy.pieces.push_back({host.data(), memory.data(), 1 << 20, (*mapping)->number(), 1});
    gpu.copy(copy);
    ASSERT_TRUE(run_until([&] { return copy.ended; }));
  }
  set_log_level(LogLevel::info);
  const auto after = cuda().counts();
  EXPECT_EQ(after.streams, before.streams);
  EXPECT_EQ(after.events, before.events);
  EXPECT_EQ(after.modules, before.modules);
  EXPECT_EQ(after.registrations, before.registrations);
  EXPECT_EQ(after.contexts, before.contexts);
  EXPECT_EQ(after.pageable_copies, before.pageable_copies);
  EXPECT_EQ(after.synchronises, before.synchronises);
}

TEST_F(CudaGpuTest, scattered_pieces_are_few_launches_and_neighbours_one_copy) {
  GD2FS_NEEDS_FAKE_CUDA();
  const TestContext context;
  const TestMemory memory(context.get(), 32 << 20);
  const HostMemory host(32 << 20);
  const GpuTarget target = gpu_.find(memory.data(), memory.size())->target;
  const auto mapping = gpu_.map_host(target, host.data(), host.size(), Gpu::Access::read_write);
  const auto before = cuda().counts();
  TestCopy scattered(GpuCopy::Direction::to_gpu, target);
  for (uint64_t i = 0; i < 10'000; ++i) {
    scattered.pieces.push_back(
        {host.data() + i * 3000, memory.data() + i * 3001, 2048, (*mapping)->number(), 1});
  }
  ASSERT_TRUE(run(scattered).ok());
  auto after = cuda().counts();
  EXPECT_EQ(after.launches - before.launches, 3u);
  EXPECT_EQ(after.tiles - before.tiles, 10'000u);
  EXPECT_EQ(after.copies, before.copies);
  TestCopy neighbours(GpuCopy::Direction::to_gpu, target);
  for (uint64_t i = 0; i < 8; ++i) {
    neighbours.pieces.push_back({host.data() + i * (4 << 20), memory.data() + i * (4 << 20),
                                 4 << 20, (*mapping)->number(), 1});
  }
  ASSERT_TRUE(run(neighbours).ok());
  after = cuda().counts();
  EXPECT_EQ(after.copies - before.copies, 1u);
}

// A sleep ends up to 84 us late, of a large read's last copy too.
TEST_F(CudaGpuTest, the_end_of_a_copy_is_waited_for_awake_even_where_spinning_does_not_pay) {
  GD2FS_NEEDS_FAKE_CUDA();
  struct Sleeps final : Poller {
    int count = 0;
    size_t poll() override { return 0; }
    bool arm() override {
      ++count;
      return true;
    }
    void disarm() override {}
  } sleeps;
  const TestContext context;
  const TestMemory memory(context.get(), 1 << 20);
  const HostMemory host(1 << 20);
  const GpuTarget target = gpu_.find(memory.data(), memory.size())->target;
  const auto mapping = gpu_.map_host(target, host.data(), host.size(), Gpu::Access::read_write);
  ASSERT_TRUE(mapping.has_value()) << mapping.error().to_string();
  loop_.add(sleeps);
  Loop::Drive drive = loop_.try_drive();
  cuda().set_delay_ns(200 * kUs);
  bool slept = true;
  // Where others have the cores the copy may be so late that the loop may sleep.
  const uint64_t deadline_ns = loop_.clock().now_ns() + 20 * kSecond;
  while (slept && loop_.clock().now_ns() < deadline_ns) {
    TestCopy copy(GpuCopy::Direction::to_gpu, target);
    copy.pieces.push_back({host.data(), memory.data(), 4096, (*mapping)->number(), 1});
    sleeps.count = 0;
    gpu_.copy(copy);
    while (!copy.ended) loop_.turn(kSecond);
    slept = sleeps.count > 0;
  }
  cuda().set_delay_ns(0);
  EXPECT_FALSE(slept);
}

}  // namespace
}  // namespace gd2fs
