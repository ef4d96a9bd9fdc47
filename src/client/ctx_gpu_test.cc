// Requests on GPU memory, by way of the pinned ring.
#include <algorithm>
#include <cstring>

#include <sys/mman.h>

#include "client/ctx_gpu_fixture.h"

namespace gd2fs::client {
namespace {

TEST_F(CtxGpuTest, what_one_gpu_writes_another_reads) {
  const auto bytes = cuda::random_bytes(random_, kGpuBytes);
  gpus_.front()->set(bytes);
  EXPECT_EQ(run(kWrite, whole(0)).value, kGpuBytes);
  const size_t reader = gpus_.size() - 1;
  if (reader == 0) gpus_.front()->set(std::vector<std::byte>(kGpuBytes));
  const auto done = run(kRead, whole(reader));
  EXPECT_EQ(done.status, 0);
  EXPECT_EQ(done.value, kGpuBytes);
  EXPECT_TRUE(gpus_[reader]->get() == bytes);
  // Also by way of host memory.
  EXPECT_EQ(run(kRead, {sge(host_.data(), kGpuBytes, host_iomem_)}).status, 0);
  EXPECT_TRUE(host_ == bytes);
}

// One list of host memory and of each GPU, of any length and alignment, by the thousand.
TEST_F(CtxGpuTest, lists_may_mix_host_and_gpus_in_pieces_of_any_length) {
  for (const uint64_t longest : {uint64_t{40}, uint64_t{5000}, uint64_t{300'000}}) {
    Sges sges;
    std::vector<uint64_t> at(gpus_.size() + 1);
    uint64_t total = 0;
    while (sges.size() < 3000) {
      const size_t where = random_.below(at.size());
      const uint64_t length = random_.between(1, longest);
      at[where] += random_.below(33);
      if (at[where] + length > kGpuBytes) break;
      std::byte* base = where < gpus_.size() ? gpus_[where]->data() : host_.data();
      sges.push_back(
          sge(base + at[where], length, where < gpus_.size() ? iomems_[where] : host_iomem_));
      at[where] += length;
      total += length;
    }
    random_.fill(host_);
    for (const auto& gpu : gpus_) gpu->set(cuda::random_bytes(random_, kGpuBytes));
    const auto gather = [&] {
      std::vector<std::vector<std::byte>> gpu_bytes;
      for (const auto& gpu : gpus_) gpu_bytes.push_back(gpu->get());
      std::vector<std::byte> bytes;
      for (const auto& one : sges) {
        auto* from = static_cast<std::byte*>(one.addr);
        for (size_t i = 0; i < gpus_.size(); ++i) {
          const bool here = from >= gpus_[i]->data() && from < gpus_[i]->data() + kGpuBytes;
          if (here) from = gpu_bytes[i].data() + (from - gpus_[i]->data());
          if (here) break;
        }
        bytes.insert(bytes.end(), from, from + one.len);
      }
      return bytes;
    };
    const auto expected = gather();
    EXPECT_EQ(run(kWrite, sges, 77).value, total);
    std::ranges::fill(host_, std::byte{0});
    for (const auto& gpu : gpus_) gpu->set(std::vector<std::byte>(kGpuBytes));
    EXPECT_EQ(run(kRead, sges, 77).value, total);
    ASSERT_TRUE(gather() == expected) << "pieces of at most " << longest;
  }
}

// What is left of a message need not be a GPU's any more, or not the host's.
TEST_F(CtxGpuTest, the_rest_of_a_write_that_was_answered_in_part_keeps_its_own_bytes) {
  constexpr uint64_t kChunk = MemoryCluster::kChunkBytes;
  for (const bool gpu_first : {true, false}) {
    random_.fill(host_);
    const auto of_gpu = cuda::random_bytes(random_, kGpuBytes);
    gpus_[0]->set(of_gpu);
    const auto gpu = sge(gpus_[0]->data(), 2 * kChunk, iomems_[0]);
    const auto host = sge(host_.data(), 2 * kChunk, host_iomem_);
    cluster_.cut_write_after = 2;
    const auto done = run(kWrite, gpu_first ? Sges{gpu, host} : Sges{host, gpu});
    EXPECT_EQ(done.status, 0);
    EXPECT_FALSE(cluster_.cut_write_after.has_value());
    std::vector<std::byte> expected(of_gpu.begin(), of_gpu.begin() + 2 * kChunk);
    expected.insert(gpu_first ? expected.end() : expected.begin(), host_.begin(),
                    host_.begin() + 2 * kChunk);
    std::vector<std::byte> got(4 * kChunk);
    const IomemHandle iomem = *ctx_->add_iomem(got.data(), got.size());
    EXPECT_EQ(run(kRead, {sge(got.data(), got.size(), iomem)}).value, got.size());
    EXPECT_TRUE(got == expected) << (gpu_first ? "GPU first" : "host first");
    EXPECT_TRUE(ctx_->remove_iomem(iomem).ok());
  }
}

TEST_F(CtxGpuTest, holes_are_zeros_and_nothing_past_a_short_read_is_touched_in_the_gpu) {
  const std::vector<std::byte> pattern(kGpuBytes, std::byte{0x77});
  gpus_[0]->set(pattern);
  // 300 KiB of data behind a hole of 4 MiB.
  EXPECT_EQ(run(kWrite, whole(0, 300 << 10), 4 << 20).status, 0);
  const auto done = run(kRead, whole(0));
  EXPECT_EQ(done.value, uint64_t{(4 << 20) + (300 << 10)});
  const auto got = gpus_[0]->get();
  EXPECT_TRUE(
      std::all_of(got.begin(), got.begin() + (4 << 20), [](auto b) { return b == std::byte{0}; }));
  EXPECT_TRUE(
      std::all_of(got.begin() + (4 << 20), got.end(), [](auto b) { return b == std::byte{0x77}; }));
}

TEST_F(CtxGpuTest, the_ring_stays_within_its_bound_and_no_copy_blocks) {
  GD2FS_NEEDS_FAKE_CUDA();
  const auto before = cuda().counts();
  EXPECT_EQ(run(kWrite, whole(0)).status, 0);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(submit(kRead, whole(0)).has_value());
  for (int i = 0; i < 20; ++i) EXPECT_EQ(reap().status, 0);
  const auto after = cuda().counts();
  EXPECT_EQ(after.pageable_copies, before.pageable_copies);
  EXPECT_EQ(after.synchronises, before.synchronises);
  const uint64_t per_gpu = GpuRing::kRingLeastBytes + (2 << 20);
  // (What a broken ctx of another test left behind stays registered.)
  EXPECT_LE(after.registered_bytes - before.registered_bytes, gpus_.size() * per_gpu);
}

// Stripes may go by themselves, so that little is left to copy when all has been received.
TEST_F(CtxGpuTest, a_large_read_goes_on_to_the_gpu_as_it_comes) {
  GD2FS_NEEDS_FAKE_CUDA();
  EXPECT_EQ(run(kWrite, whole(0)).status, 0);
  const uint64_t before = cuda().counts().copies;
  EXPECT_EQ(run(kRead, whole(0)).status, 0);
  const uint64_t copies = cuda().counts().copies - before;
  EXPECT_GT(copies, 6u);  // its batches: 8, 6, 3, 1, 1, 1 MiB
  EXPECT_LE(copies, (20 << 20) / MemoryCluster::kChunkBytes);
}

TEST_F(CtxGpuTest, a_full_ring_stops_nobody_elses_reads) {
  GD2FS_NEEDS_FAKE_CUDA();
  EXPECT_EQ(run(kWrite, whole(0)).status, 0);
  cuda().hold(1);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(submit(kRead, whole(0)).has_value());  // 200 of 96 MiB
  wait_until_queued(8);
  EXPECT_TRUE(nothing_for(100));
  for (int i = 0; i < 20; ++i) {
    // A small one of the host's, over the same connections.
    ASSERT_TRUE(submit(kRead, {sge(host_.data(), 4096, host_iomem_)}).has_value());
    EXPECT_EQ(reap().value, 4096u);
  }
  cuda().hold(0);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(reap().value, kGpuBytes);
}

TEST_F(CtxGpuTest, a_stream_that_is_named_comes_first) {
  GD2FS_NEEDS_FAKE_CUDA();
  EXPECT_EQ(run(kWrite, whole(0, 1 << 20)).status, 0);
  cuda::Stream stream = nullptr;
  {
    const Current current(*cuda().driver, contexts_[0]->get());
    ASSERT_EQ(cuda().driver->stream_create(&stream, cuda::kStreamNonBlocking), cuda::kSuccess);
  }
  const auto number = reinterpret_cast<uint64_t>(stream);
  cuda().hold(1);
  {
    // The caller's own copy into the file's bytes-to-be.
    const Current current(*cuda().driver, contexts_[0]->get());
    std::memset(host_.data(), 0x3c, 1 << 20);
    ASSERT_EQ(cuda().driver->host_register(host_.data(), 1 << 20, 0), cuda::kSuccess);
    ASSERT_EQ(cuda().driver->copy_to_device(reinterpret_cast<cuda::Pointer>(gpus_[0]->data()),
                                            host_.data(), 1 << 20, stream),
              cuda::kSuccess);
  }
  ASSERT_TRUE(submit(kWrite, whole(0, 1 << 20), 0, number).has_value());
  EXPECT_TRUE(nothing_for(50));
  // One that waits for the stream can be given up at once: it touches nothing yet.
  uint64_t waiting = 0;
  ASSERT_TRUE(submit(kWrite, whole(0, 1 << 20), 0, number, &waiting).has_value());
  EXPECT_TRUE(ctx_->cancel(waiting).ok());
  EXPECT_EQ(XFER_GD2FS_STATUS_CODE(reap().status), unsigned{ECANCELED});
  cuda().hold(0);
  EXPECT_EQ(reap().status, 0);
  EXPECT_EQ(run(kRead, whole(0, 1 << 20)).status, 0);
  EXPECT_EQ(gpus_[0]->get(gpus_[0]->data(), 1 << 20),
            std::vector<std::byte>(1 << 20, std::byte{0x3c}));
  EXPECT_EQ(submit(kRead, whole(0), 0, 12345).error().errno_value(), EINVAL);
  const Current current(*cuda().driver, contexts_[0]->get());
  (void)cuda().driver->host_unregister(host_.data());
  (void)cuda().driver->stream_destroy(stream);
}

TEST_F(CtxGpuTest, a_range_that_is_not_all_of_one_kind_is_refused) {
  EXPECT_EQ(ctx_->add_iomem(gpus_[0]->data(), uint64_t{1} << 40).has_value(), false);
  void* nothing = mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT_EQ(ctx_->add_iomem(nothing, 4096).error().code(), StatusCode::unsupported);
  munmap(nothing, 4096);
}

TEST_F(CtxGpuTest, opening_and_closing_leaves_nothing_behind) {
  GD2FS_NEEDS_FAKE_CUDA();
  close();
  const auto before = cuda().counts();
  for (int i = 0; i < 20; ++i) {
    open(20 * kSecond);
    EXPECT_EQ(run(kWrite, whole(0, 3 << 20)).status, 0);
    EXPECT_EQ(run(kRead, whole(0, 3 << 20)).status, 0);
    close();
  }
  const auto after = cuda().counts();
  EXPECT_EQ(after.streams, before.streams);
  EXPECT_EQ(after.events, before.events);
  EXPECT_EQ(after.modules, before.modules);
  EXPECT_EQ(after.registrations, before.registrations);
  EXPECT_EQ(after.contexts, before.contexts);
  EXPECT_EQ(after.allocations, before.allocations);
}

}  // namespace
}  // namespace gd2fs::client
