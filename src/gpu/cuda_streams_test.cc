// How many streams a context has: one, until two uses meet.
#include <algorithm>
#include <cstring>

#include "gpu/gpu_fixture.h"

namespace gd2fs {
namespace {

using cuda::kSuccess;
using cuda::TestContext;
using cuda::TestMemory;

constexpr size_t kLong = 8 << 20;
constexpr size_t kBrief = 4096;
constexpr uint64_t kRegion = 1;

class CudaStreamsTest : public GpuFixture {
 protected:
  void SetUp() override {
    GD2FS_NEEDS_FAKE_CUDA();
    streams_before_ = cuda().counts().streams;
    context_ = std::make_unique<TestContext>();
    memory_ = std::make_unique<TestMemory>(context_->get(), 2 * kLong);
    target_ = gpu_.find(memory_->data(), 1)->target;
    mapping_ =
        std::move(*gpu_.map_host(target_, host_.data(), host_.size(), Gpu::Access::read_write));
  }
  void TearDown() override {
    if (!cuda().fake()) return;
    cuda().hold(0);
    cuda().set_delay_ns(0);
    cuda().refuse_streams(0);
    (void)run_until(
        [&] { return std::ranges::all_of(copies_, [](const auto& copy) { return copy->ended; }); });
    mapping_.reset();
  }
  TestCopy& start(GpuCopy::Direction way, size_t pieces, uint64_t length, uint64_t at = 0,
                  bool bulk = false) {
    TestCopy& copy = *copies_.emplace_back(std::make_unique<TestCopy>(way, target_));
    copy.bulk = bulk;
    for (size_t i = 0; i < pieces; ++i, at += length + kBrief) {
      copy.pieces.push_back(
          {host_.data() + at, memory_->data() + at, length, mapping_->number(), kRegion});
    }
    gpu_.copy(copy);
    return copy;
  }
  void finish(TestCopy& copy) {
    ASSERT_TRUE(run_until([&] { return copy.ended; }));
    EXPECT_TRUE(copy.status().ok()) << copy.status().to_string();
  }
  uint64_t streams() { return cuda().counts().streams - streams_before_; }

  static constexpr auto kToGpu = GpuCopy::Direction::to_gpu;
  static constexpr auto kFromGpu = GpuCopy::Direction::from_gpu;
  HostMemory host_{2 * kLong};
  uint64_t streams_before_ = 0;
  std::unique_ptr<TestContext> context_;
  std::unique_ptr<TestMemory> memory_;
  std::unique_ptr<HostMapping> mapping_;
  GpuTarget target_ = 0;
  std::vector<std::unique_ptr<TestCopy>> copies_;
};

TEST_F(CudaStreamsTest, who_does_one_thing_after_another_has_one_stream) {
  GD2FS_NEEDS_FAKE_CUDA();
  for (const auto way : {kToGpu, kFromGpu}) {
    finish(start(way, 1, kLong));
    finish(start(way, 1, kBrief));
    finish(start(way, 64, kBrief));  // by the kernel
  }
  EXPECT_EQ(streams(), 1u);
}

TEST_F(CudaStreamsTest, copies_of_one_use_share_a_stream_however_many_are_under_way) {
  GD2FS_NEEDS_FAKE_CUDA();
  cuda().hold(1);
  for (int i = 0; i < 10; ++i) start(kToGpu, 1, kLong);
  EXPECT_EQ(streams(), 1u);
}

TEST_F(CudaStreamsTest, the_short_parts_of_a_long_transfer_go_behind_its_long_ones) {
  GD2FS_NEEDS_FAKE_CUDA();
  cuda().hold(1);
  start(kFromGpu, 1, kLong);
  start(kFromGpu, 1, kBrief, kLong + kBrief, true);
  EXPECT_EQ(streams(), 1u);
}

// How a write's staging memory lies decides which of its parts go by the kernel.
TEST_F(CudaStreamsTest, the_parts_of_a_long_write_have_one_stream_by_kernel_and_engine) {
  GD2FS_NEEDS_FAKE_CUDA();
  cuda().hold(1);
  start(kFromGpu, 1, kLong / 2, 0, true);
  start(kFromGpu, 64, kBrief, kLong, true);
  EXPECT_EQ(streams(), 1u);
}

// Others' kernels may hold all processors: the copy engine does not wait for one.
TEST_F(CudaStreamsTest, what_the_kernel_copies_does_not_hold_up_the_engine) {
  GD2FS_NEEDS_FAKE_CUDA();
  cuda().hold(1);
  start(kToGpu, 64, kBrief, 0, true);
  start(kToGpu, 1, kLong / 2, kLong + kBrief);
  EXPECT_EQ(streams(), 2u);
}

TEST_F(CudaStreamsTest, a_refused_stream_is_not_asked_for_with_every_copy) {
  GD2FS_NEEDS_FAKE_CUDA();
  start(kToGpu, 1, kLong / 2);
  const uint64_t asked = cuda().counts().streams_asked;
  cuda().refuse_streams(2);
  cuda().hold(1);
  start(kToGpu, 1, kLong / 2);
  for (int i = 0; i < 10; ++i) start(kFromGpu, 1, kBrief, kLong + kBrief);
  EXPECT_EQ(cuda().counts().streams_asked, asked + 1);
}

TEST_F(CudaStreamsTest, what_is_brief_overtakes_what_is_long_and_each_way_has_its_stream) {
  GD2FS_NEEDS_FAKE_CUDA();
  cuda().set_delay_ns(20 * kMs);
  for (int i = 0; i < 4; ++i) start(kToGpu, 1, kLong);
  TestCopy& last = *copies_.back();
  TestCopy& brief = start(kToGpu, 1, kBrief, kLong + kBrief);
  EXPECT_EQ(streams(), 2u);
  TestCopy& back = start(kFromGpu, 1, kLong / 2, kLong + 2 * kBrief);
  EXPECT_EQ(streams(), 3u);
  finish(brief);
  finish(back);
  EXPECT_FALSE(last.ended);
  start(kFromGpu, 64, kBrief, kLong + 2 * kBrief);
  EXPECT_EQ(streams(), 3u);
  cuda().set_delay_ns(0);
}

TEST_F(CudaStreamsTest, a_driver_that_makes_no_more_streams_makes_copies_wait_for_each_other) {
  GD2FS_NEEDS_FAKE_CUDA();
  cuda().refuse_streams(2);
  cuda().hold(1);
  TestCopy& to_gpu = start(kToGpu, 1, kLong);
  TestCopy& from_gpu = start(kFromGpu, 1, kLong / 2, kLong + kBrief);
  TestCopy& brief = start(kToGpu, 64, kBrief, kLong + kBrief + kLong / 2);
  EXPECT_EQ(streams(), 1u);
  cuda().hold(0);
  finish(to_gpu);
  finish(from_gpu);
  finish(brief);
}

TEST_F(CudaStreamsTest, without_a_first_stream_the_memory_is_refused) {
  GD2FS_NEEDS_FAKE_CUDA();
  cuda().refuse_streams(2);
  CudaGpu gpu(loop_);
  const auto found = gpu.find(memory_->data(), 1);
  ASSERT_FALSE(found.has_value());
  EXPECT_EQ(found.error().code(), StatusCode::io);
  cuda().refuse_streams(0);
  EXPECT_TRUE(gpu.find(memory_->data(), 1).has_value());
}

TEST_F(CudaStreamsTest, what_is_expected_touches_nothing_and_makes_no_stream) {
  GD2FS_NEEDS_FAKE_CUDA();
  const auto before = cuda().counts();
  for (int i = 0; i < 10; ++i) gpu_.expect(target_);
  EXPECT_EQ(streams(), 1u);
  EXPECT_EQ(cuda().counts().copies, before.copies);
  finish(start(kToGpu, 1, kLong));
  EXPECT_EQ(cuda().counts().events, before.events + 1);
  ASSERT_EQ(cuda().primary_context_reset(0), kSuccess);
  gpu_.expect(target_);
  mapping_.reset();
  memory_.reset();
}

}  // namespace
}  // namespace gd2fs
