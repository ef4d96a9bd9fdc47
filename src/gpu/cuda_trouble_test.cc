// Copies that fail or end late, contexts that go away under them, and the order after the caller's
// own GPU work. Mostly on the fake driver, which can be told to misbehave.
#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "gpu/gpu_fixture.h"

namespace gd2fs {
namespace {

using cuda::Context;
using cuda::Current;
using cuda::kSuccess;
using cuda::TestContext;
using cuda::TestMemory;

constexpr size_t kLength = 8 << 20;

class CudaTroubleTest : public GpuFixture {
 protected:
  void SetUp() override {
    GD2FS_NEEDS_CUDA();
    set_log_level(LogLevel::off);
    context_ = std::make_unique<TestContext>();
    memory_ = std::make_unique<TestMemory>(context_->get(), kLength);
    target_ = gpu_.find(memory_->data(), kLength)->target;
    mapping_ = std::move(*gpu_.map_host(target_, host_.data(), kLength, Gpu::Access::read_write));
  }
  void TearDown() override {
    if (cuda().fake()) {
      cuda().hold(0);
      cuda().set_delay_ns(0);
      cuda().refuse_copies(0, 0);
      cuda().break_next(0);
      cuda().refuse_events(0);
      // A broken context is of no use to the next test.
      if (memory_ != nullptr && gpu_.find(memory_->data(), 1).has_value() == false) {
        (void)cuda().primary_context_reset(0);
      }
    }
    mapping_.reset();
    memory_.reset();
    context_.reset();
    set_log_level(LogLevel::info);
  }
  std::unique_ptr<TestCopy> make_copy(size_t pieces = 1, uint64_t apart = 0) {
    auto copy = std::make_unique<TestCopy>(GpuCopy::Direction::to_gpu, target_);
    const uint64_t length = kLength / pieces - apart;
    for (size_t i = 0; i < pieces; ++i) {
      const uint64_t at = i * (length + apart);
      copy->pieces.push_back(
          {host_.data() + at, memory_->data() + at, length, mapping_->number(), 1});
    }
    return copy;
  }

  HostMemory host_{kLength};
  std::unique_ptr<TestContext> context_;
  std::unique_ptr<TestMemory> memory_;
  std::unique_ptr<HostMapping> mapping_;
  GpuTarget target_ = 0;
};

TEST_F(CudaTroubleTest, a_copy_completes_when_it_has_ended_and_not_before) {
  GD2FS_NEEDS_FAKE_CUDA();
  cuda().hold(1);
  const auto copy = make_copy();
  gpu_.copy(*copy);
  run_for(20 * kMs);
  EXPECT_FALSE(copy->ended);
  cuda().hold(0);
  EXPECT_TRUE(run_until([&] { return copy->ended; }));
  EXPECT_TRUE(copy->status().ok());
  EXPECT_EQ(loop_.next_timer_ns(), UINT64_MAX);
}

TEST_F(CudaTroubleTest, more_launches_than_lists_go_out_one_after_another) {
  GD2FS_NEEDS_FAKE_CUDA();
  cuda().hold(1);
  const auto before = cuda().counts();
  std::vector<std::unique_ptr<TestCopy>> copies;
  for (int i = 0; i < 20; ++i) {
    copies.push_back(make_copy(8, 16));
    gpu_.copy(*copies.back());
  }
  EXPECT_EQ(cuda().counts().launches - before.launches, cuda::CudaTarget::kListsMax);
  cuda().hold(0);
  EXPECT_TRUE(run_until(
      [&] { return std::ranges::all_of(copies, [](const auto& copy) { return copy->ended; }); }));
  for (const auto& copy : copies) EXPECT_TRUE(copy->status().ok());
  EXPECT_EQ(cuda().counts().launches - before.launches, 20u);
}

TEST_F(CudaTroubleTest, a_refused_copy_is_eio_after_those_before_it_have_ended) {
  GD2FS_NEEDS_FAKE_CUDA();
  cuda().hold(1);
  const auto first = make_copy();
  gpu_.copy(*first);
  cuda().refuse_copies(1, 1);
  const auto refused = make_copy();
  gpu_.copy(*refused);
  cuda().refuse_copies(1, 1);
  const auto refused_tiles = make_copy(8, 16);
  gpu_.copy(*refused_tiles);
  cuda().hold(0);
  EXPECT_TRUE(run_until([&] { return first->ended && refused->ended && refused_tiles->ended; }));
  EXPECT_TRUE(first->status().ok());
  EXPECT_EQ(refused->status().code(), StatusCode::io);
  EXPECT_EQ(refused->status().errno_value(), EIO);
  EXPECT_EQ(refused_tiles->status().errno_value(), EIO);
  // Only that one copy was bad.
  const auto after = make_copy();
  EXPECT_TRUE(run(*after).ok());
}

TEST_F(CudaTroubleTest, a_context_that_breaks_fails_all_its_copies_and_those_that_follow) {
  GD2FS_NEEDS_FAKE_CUDA();
  cuda().hold(1);
  std::vector<std::unique_ptr<TestCopy>> copies;
  for (int i = 0; i < 12; ++i) {
    copies.push_back(make_copy(i % 2 == 0 ? 1 : 8, i % 2 == 0 ? 0 : 16));
    gpu_.copy(*copies.back());
  }
  cuda().break_next(700);
  cuda().hold(0);
  EXPECT_TRUE(run_until(
      [&] { return std::ranges::all_of(copies, [](const auto& copy) { return copy->ended; }); }));
  EXPECT_EQ(copies.back()->status().errno_value(), EIO);
  const auto after = make_copy();
  EXPECT_EQ(run(*after).errno_value(), EIO);
}

TEST_F(CudaTroubleTest, after_a_reset_old_memory_is_eio_and_new_memory_works) {
  GD2FS_NEEDS_CUDA();
  std::unique_ptr<TestCopy> under_way = make_copy();
  if (cuda().fake()) cuda().hold(1);
  gpu_.copy(*under_way);
  ASSERT_EQ(cuda().primary_context_reset(0), kSuccess);
  if (cuda().fake()) cuda().hold(0);
  EXPECT_TRUE(run_until([&] { return under_way->ended; }));
  if (cuda().fake()) {
    EXPECT_EQ(under_way->status().errno_value(), EIO);
  }
  const auto late = make_copy();
  EXPECT_EQ(run(*late).errno_value(), EIO);

  mapping_.reset();
  const TestContext again;
  const TestMemory fresh(again.get(), kLength);
  const auto found = gpu_.find(fresh.data(), kLength);
  ASSERT_TRUE(found.has_value()) << found.error().to_string();
  EXPECT_NE(found->target, target_);
  const auto mapping = gpu_.map_host(found->target, host_.data(), kLength, Gpu::Access::read_write);
  ASSERT_TRUE(mapping.has_value()) << mapping.error().to_string();
  std::memset(host_.data(), 0x33, kLength);
  TestCopy copy(GpuCopy::Direction::to_gpu, found->target);
  copy.pieces.push_back({host_.data(), fresh.data(), kLength, (*mapping)->number(), 1});
  EXPECT_TRUE(run(copy).ok()) << copy.status().to_string();
  EXPECT_EQ(fresh.get(), std::vector<std::byte>(kLength, std::byte{0x33}));
}

TEST_F(CudaTroubleTest, an_application_context_that_is_destroyed_ends_its_copies) {
  GD2FS_NEEDS_FAKE_CUDA();
  Context own = nullptr;
  ASSERT_EQ(cuda().context_create(&own, 0, 0), kSuccess);
  const TestMemory memory(own, kLength);
  const GpuTarget target = gpu_.find(memory.data(), kLength)->target;
  EXPECT_NE(target, target_);
  cuda().hold(1);
  TestCopy copy(GpuCopy::Direction::to_gpu, target);
  copy.pieces.push_back({host_.data(), memory.data(), kLength, mapping_->number(), 1});
  gpu_.copy(copy);
  ASSERT_EQ(cuda().context_destroy(own), kSuccess);
  cuda().hold(0);
  EXPECT_TRUE(run_until([&] { return copy.ended; }));
  EXPECT_EQ(copy.status().errno_value(), EIO);
  // The others go on.
  const auto other = make_copy();
  EXPECT_TRUE(run(*other).ok());
}

// --- the order after the caller's own work ---

TEST_F(CudaTroubleTest, a_fence_is_passed_when_the_stream_has_got_there) {
  GD2FS_NEEDS_FAKE_CUDA();
  const Current current(*cuda().driver, context_->get());
  cuda::Stream stream = nullptr;
  ASSERT_EQ(cuda().driver->stream_create(&stream, cuda::kStreamNonBlocking), kSuccess);
  const auto number = reinterpret_cast<uint64_t>(stream);
  auto idle = gpu_.fence_after(number, target_);
  ASSERT_TRUE(idle.has_value()) << idle.error().to_string();
  EXPECT_EQ(*idle, nullptr);  // nothing to wait for
  cuda().hold(1);
  (void)cuda().driver->copy_to_device(reinterpret_cast<cuda::Pointer>(memory_->data()),
                                      host_.data(), 4096, stream);
  const auto fence = gpu_.fence_after(number, target_);
  ASSERT_TRUE(fence.has_value() && *fence != nullptr);
  Waited waited;
  gpu_.wait(**fence, waited.done);
  run_for(10 * kMs);
  EXPECT_FALSE(waited.ended);
  cuda().hold(0);
  EXPECT_TRUE(run_until([&] { return waited.ended; }));
  EXPECT_TRUE(waited.status.ok());
  EXPECT_EQ(loop_.next_timer_ns(), UINT64_MAX);
  (void)cuda().driver->stream_destroy(stream);
}

TEST_F(CudaTroubleTest, the_default_streams_have_names_and_a_captured_stream_is_refused) {
  GD2FS_NEEDS_CUDA();
  EXPECT_TRUE(gpu_.fence_after(1, target_).has_value());
  EXPECT_TRUE(gpu_.fence_after(2, target_).has_value());
  EXPECT_EQ(gpu_.fence_after(0, target_).error().code(), StatusCode::invalid);
  const Current current(*cuda().driver, context_->get());
  cuda::Stream stream = nullptr;
  ASSERT_EQ(cuda().driver->stream_create(&stream, cuda::kStreamNonBlocking), kSuccess);
  ASSERT_EQ(cuda().stream_begin_capture(stream, 2), kSuccess);
  EXPECT_EQ(gpu_.fence_after(reinterpret_cast<uint64_t>(stream), target_).error().code(),
            StatusCode::invalid);
  void* graph = nullptr;
  EXPECT_EQ(cuda().stream_end_capture(stream, &graph), kSuccess);  // the capture was not disturbed
  (void)cuda().driver->stream_destroy(stream);
}

// As PyTorch captures: whatever any thread does that might belong into the graph breaks it.
TEST_F(CudaTroubleTest, a_graph_that_the_application_captures_is_not_disturbed_nor_are_copies) {
  GD2FS_NEEDS_CUDA();
  cuda::Stream stream = nullptr;
  void* graph = nullptr;
  {
    const Current current(*cuda().driver, context_->get());
    ASSERT_EQ(cuda().driver->stream_create(&stream, cuda::kStreamNonBlocking), kSuccess);
    ASSERT_EQ(cuda().stream_begin_capture(stream, 0), kSuccess);
  }
  TestCopy copy(GpuCopy::Direction::to_gpu, target_);
  copy.pieces.push_back({host_.data(), memory_->data(), 1 << 20, mapping_->number(), 1});
  gpu_.copy(copy);
  EXPECT_TRUE(run_until([&] { return copy.ended; }));
  EXPECT_TRUE(copy.status().ok()) << copy.status().to_string();
  HostMemory more(1 << 20);
  auto mapped = gpu_.map_host(target_, more.data(), more.size(), Gpu::Access::read_write);
  EXPECT_TRUE(mapped.has_value());
  if (mapped.has_value()) mapped->reset();
  {
    const Current current(*cuda().driver, context_->get());
    EXPECT_EQ(cuda().stream_end_capture(stream, &graph), kSuccess);
    (void)cuda().driver->stream_destroy(stream);
  }
  EXPECT_TRUE(gpu_.find(memory_->data(), 1).has_value());
}

// Whoever is told that a copy failed may do with its memory as he likes.
TEST_F(CudaTroubleTest, what_a_failing_target_has_under_way_ends_before_it_is_told) {
  GD2FS_NEEDS_FAKE_CUDA();
  cuda().set_delay_ns(20 * kMs);
  TestCopy first(GpuCopy::Direction::to_gpu, target_);
  first.pieces.push_back({host_.data(), memory_->data(), 1 << 20, mapping_->number(), 1});
  gpu_.copy(first);
  cuda().refuse_events(2);
  TestCopy second(GpuCopy::Direction::to_gpu, target_);
  second.pieces.push_back({host_.data(), memory_->data(), 1 << 20, mapping_->number(), 1});
  gpu_.copy(second);
  EXPECT_TRUE(run_until([&] { return first.ended && second.ended; }));
  EXPECT_FALSE(first.status().ok());
  EXPECT_EQ(cuda().queued(), 0u);
}

}  // namespace
}  // namespace gd2fs
