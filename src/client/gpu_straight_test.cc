// When the parts of batches become copies: at once, or joined with others.
#include "client/gpu_straight.h"

#include <algorithm>
#include <cstring>

#include "client/staging_fixture.h"

namespace gd2fs::client {
namespace {

// Batches of 4 MiB, neighbours on the GPU and in shared memory, offered in parts of 2 MiB as a
// server grants them.
class JoinedTest : public StagingTest {
 protected:
  static constexpr uint64_t kBatch = GpuStraight::kToGpu.ahead_bytes;
  static constexpr uint64_t kPart = kBatch / 2;
  static constexpr size_t kBatches = 8;

  void SetUp() override {
    StagingTest::SetUp();
    if (cuda().driver == nullptr || !cuda().fake()) return;
    large_ = std::make_unique<cuda::TestMemory>(context_->get(), kBatches * kBatch);
    shared_ = std::make_shared<HostMemory>(kBatches * kBatch);
    random_.fill({shared_->data(), shared_->size()});
    for (size_t i = 0; i < kBatches; ++i) begin_batch(i, 1);
    const uint32_t mapping = pin(target_);
    ASSERT_NE(mapping, 0u);
  }
  void TearDown() override {
    if (cuda().fake()) cuda().hold(0);
    (void)run_until([&] { return std::ranges::all_of(parts_, ended); });
    batches_.clear();
  }
  void begin_batch(size_t number, uint32_t region, uint64_t length = kBatch) {
    const std::vector<MemorySegment> all{
        {large_->data() + number * kBatch, length, target_, region}};
    auto staging = std::make_unique<Staging>(rings_);
    Waited ready;
    staging->begin(all, Window::Direction::sink, ready.done);
    ASSERT_TRUE(run_until([&] { return ready.ended; }));
    staging->begin_sending();
    batches_.push_back(std::move(staging));
  }
  uint32_t pin(GpuTarget with) {
    uint32_t mapping = 0;
    (void)run_until([&] {
      mapping = rings_.straight().pins().mapping_of(with, shared(), Gpu::Access::read, shared_);
      return mapping != 0;
    });
    return mapping;
  }
  TestPart& offer(size_t batch, uint64_t offset, uint64_t length = kPart) {
    TestPart& part = *parts_.emplace_back(std::make_unique<TestPart>());
    describe(offset, {shared_->data() + batch * kBatch + offset, length}, &part);
    EXPECT_TRUE(batches_[batch]->take(part));
    run_for(kMs);
    return part;
  }
  void offer_all() {
    for (size_t i = 0; i < kBatches; ++i) {
      for (uint64_t at = 0; at < kBatch; at += kPart) offer(i, at);
    }
  }
  static bool ended(const std::unique_ptr<TestPart>& part) { return part->ended || !part->begun; }
  void expect_all_there() {
    ASSERT_TRUE(run_until(
        [&] { return std::ranges::all_of(parts_, [](const auto& part) { return part->ended; }); }));
    for (const auto& part : parts_) EXPECT_TRUE(part->status.ok()) << part->status.to_string();
    EXPECT_EQ(std::memcmp(large_->get().data(), shared_->data(), large_->size()), 0);
  }

  std::unique_ptr<cuda::TestMemory> large_;
  GpuRings rings_{loop_, gpu_, moved_, GpuRing::kRingLeastBytes};
  std::vector<std::unique_ptr<Staging>> batches_;
  std::vector<std::unique_ptr<TestPart>> parts_;
};

TEST_F(JoinedTest, parts_of_all_batches_that_come_while_the_link_is_busy_become_one_copy) {
  GD2FS_NEEDS_FAKE_CUDA();
  const uint64_t before = cuda().counts().copies;
  cuda().hold(1);
  offer_all();
  // One runs, one is behind it, and the others wait.
  EXPECT_EQ(cuda().counts().copies - before, GpuStraight::kToGpu.copies_max);
  cuda().hold(0);
  expect_all_there();
  // All that waited but the newest batch, and that one.
  EXPECT_EQ(cuda().counts().copies - before, GpuStraight::kToGpu.copies_max + 2);
}

TEST_F(JoinedTest, what_is_joined_stops_at_the_border_of_a_registration) {
  GD2FS_NEEDS_FAKE_CUDA();
  batches_.clear();
  for (size_t i = 0; i < kBatches; ++i) begin_batch(i, i < kBatches / 2 ? 1 : 2);
  const uint64_t before = cuda().counts().copies;
  cuda().hold(1);
  offer_all();
  cuda().hold(0);
  expect_all_there();
  EXPECT_EQ(cuda().counts().copies - before, GpuStraight::kToGpu.copies_max + 3);
}

TEST_F(JoinedTest, what_waits_to_be_joined_can_be_taken_back) {
  GD2FS_NEEDS_FAKE_CUDA();
  const uint64_t before = cuda().counts().copies;
  cuda().hold(1);
  offer_all();
  for (size_t i = 2; i < parts_.size(); ++i) {
    EXPECT_TRUE(batches_[i / 2]->take_back(*parts_[i]));
  }
  EXPECT_FALSE(batches_[0]->take_back(*parts_[0]));
  cuda().hold(0);
  ASSERT_TRUE(run_until([&] { return parts_[0]->ended && parts_[1]->ended; }));
  run_for(5 * kMs);
  EXPECT_FALSE(parts_[2]->ended);
  EXPECT_EQ(cuda().counts().copies - before, GpuStraight::kToGpu.copies_max);
}

TEST_F(JoinedTest, a_short_batch_does_not_wait_for_long_copies) {
  GD2FS_NEEDS_FAKE_CUDA();
  batches_.pop_back();
  begin_batch(kBatches - 1, 1, 64 << 10);
  cuda().hold(1);
  for (size_t i = 0; i + 1 < kBatches; ++i) {
    for (uint64_t at = 0; at < kBatch; at += kPart) offer(i, at);
  }
  EXPECT_FALSE(parts_.back()->begun);
  EXPECT_TRUE(offer(kBatches - 1, 0, 64 << 10).begun);
  cuda().hold(0);
  ASSERT_TRUE(run_until(
      [&] { return std::ranges::all_of(parts_, [](const auto& part) { return part->ended; }); }));
}

// One of which the rest comes another way never is whole.
TEST_F(JoinedTest, a_part_of_a_short_batch_does_not_wait_for_long_copies_either) {
  GD2FS_NEEDS_FAKE_CUDA();
  batches_.pop_back();
  begin_batch(kBatches - 1, 1, 128 << 10);
  cuda().hold(1);
  for (size_t i = 0; i + 1 < kBatches; ++i) {
    for (uint64_t at = 0; at < kBatch; at += kPart) offer(i, at);
  }
  EXPECT_TRUE(offer(kBatches - 1, 0, 64 << 10).begun);
}

TEST_F(JoinedTest, long_copies_do_not_wait_for_short_batches) {
  GD2FS_NEEDS_FAKE_CUDA();
  constexpr size_t kShort = kBatches - 2;
  batches_.clear();
  for (size_t i = 0; i < kBatches; ++i) begin_batch(i, 1, i < kShort ? kPart / 2 : kBatch);
  cuda().hold(1);
  for (size_t i = 0; i < kShort; ++i) EXPECT_TRUE(offer(i, 0, kPart / 2).begun);
  EXPECT_TRUE(offer(kShort, 0).begun);
  EXPECT_TRUE(offer(kShort, kPart).begun);
}

TEST_F(JoinedTest, a_joined_copy_that_fails_is_told_to_each_of_its_parts) {
  GD2FS_NEEDS_FAKE_CUDA();
  cuda().hold(1);
  offer_all();
  cuda().refuse_copies(1, 2);
  cuda().hold(0);
  ASSERT_TRUE(run_until(
      [&] { return std::ranges::all_of(parts_, [](const auto& part) { return part->ended; }); }));
  // The first two had gone, and the newest batch goes by itself.
  const auto good = [](const auto& part) { return part->status.ok(); };
  EXPECT_TRUE(std::all_of(parts_.begin(), parts_.begin() + 2, good));
  EXPECT_TRUE(std::none_of(parts_.begin() + 2, parts_.end() - 2, good));
  EXPECT_TRUE(std::all_of(parts_.end() - 2, parts_.end(), good));
}

TEST_F(JoinedTest, what_leaves_the_gpu_goes_in_pieces_with_which_the_server_can_begin) {
  GD2FS_NEEDS_FAKE_CUDA();
  constexpr uint64_t kSlot = GpuStraight::kFromGpu.alone_bytes;
  constexpr uint64_t kLength = 10 * kSlot;
  large_->set(cuda::random_bytes(random_, large_->size()));
  shared_ = std::make_shared<HostMemory>(kLength);
  const std::vector<MemorySegment> all{{large_->data(), kLength, target_, 1}};
  Staging source(rings_);
  ASSERT_TRUE(run_until([&] { return source.may_go_straight(all, {shared(), shared_}); }));
  source.begin_straight(all);
  source.begin_sending();
  const uint64_t before = cuda().counts().copies;
  cuda().hold(1);
  for (uint64_t at = 0; at < kLength; at += kSlot) {
    TestPart& part = *parts_.emplace_back(std::make_unique<TestPart>());
    describe(at, {shared_->data() + at, kSlot}, &part);
    ASSERT_TRUE(source.take(part));
    EXPECT_EQ(part.begun, at == 0);
    run_for(kMs);
  }
  // Until as much is under way as the link needs.
  constexpr uint64_t kFirst = GpuStraight::kFromGpu.ahead_bytes / kSlot;
  EXPECT_EQ(cuda().counts().copies - before, kFirst);
  cuda().hold(0);
  ASSERT_TRUE(run_until(
      [&] { return std::ranges::all_of(parts_, [](const auto& part) { return part->ended; }); }));
  constexpr uint64_t kJoined = GpuStraight::kFromGpu.joined_max_bytes / kSlot;
  EXPECT_EQ(cuda().counts().copies - before, kFirst + (10 - kFirst + kJoined - 1) / kJoined);
  EXPECT_EQ(std::memcmp(large_->get().data(), shared_->data(), kLength), 0);
  EXPECT_EQ(moved_.gpu_straight_write_bytes, kLength);
}

TEST_F(JoinedTest, a_source_does_not_fail_with_one_that_was_joined_with_it) {
  GD2FS_NEEDS_FAKE_CUDA();
  constexpr uint64_t kSlot = GpuStraight::kFromGpu.alone_bytes;
  large_->set(cuda::random_bytes(random_, large_->size()));
  shared_ = std::make_shared<HostMemory>(2 * kBatch);
  std::vector<std::unique_ptr<Staging>> sources;
  for (uint64_t i = 0; i < 2; ++i) {
    const std::vector<MemorySegment> all{{large_->data() + i * kBatch, kBatch, target_, 1}};
    Staging& source = *sources.emplace_back(std::make_unique<Staging>(rings_));
    ASSERT_TRUE(run_until([&] { return source.may_go_straight(all, {shared(), shared_}); }));
    source.begin_straight(all);
    source.begin_sending();
  }
  const uint64_t before = cuda().counts().copies;
  for (uint64_t at = 0; at < 2 * kSlot; at += kSlot) {
    for (uint64_t i = 0; i < 2; ++i) {
      TestPart& part = *parts_.emplace_back(std::make_unique<TestPart>());
      describe(at, {shared_->data() + i * kBatch + at, kSlot}, &part);
      ASSERT_TRUE(sources[i]->take(part));
    }
  }
  EXPECT_EQ(cuda().counts().copies - before, 1u);
  cuda().refuse_copies(1, 2);
  ASSERT_TRUE(run_until(
      [&] { return std::ranges::all_of(parts_, [](const auto& part) { return part->ended; }); }));
  for (const auto& part : parts_) EXPECT_TRUE(part->status.ok()) << part->status.to_string();
  for (uint64_t i = 0; i < 2; ++i) {
    EXPECT_EQ(
        std::memcmp(large_->get().data() + i * kBatch, shared_->data() + i * kBatch, 2 * kSlot), 0);
  }
}

// Pinned with another GPU's context, which is reset while some of the parts wait for the link.
TEST_F(JoinedTest, memory_that_is_pinned_no_more_is_not_copied_from) {
  GD2FS_NEEDS_FAKE_CUDA();
  const cuda::TestContext other(1);
  const cuda::TestMemory on_other(other.get(), 4096);
  const GpuTarget other_target = gpu_.find(on_other.data(), 4096)->target;
  shared_ = std::make_shared<HostMemory>(kBatches * kBatch);
  ASSERT_NE(pin(other_target), 0u);
  cuda().hold(1);
  offer_all();
  const auto before = cuda().counts();
  ASSERT_EQ(cuda().primary_context_reset(1), cuda::kSuccess);
  cuda().hold(0);
  ASSERT_TRUE(run_until(
      [&] { return std::ranges::all_of(parts_, [](const auto& part) { return part->ended; }); }));
  EXPECT_EQ(cuda().counts().pageable_copies, before.pageable_copies);
  for (const auto& part : parts_) EXPECT_EQ(part->status.ok(), part->begun);
  EXPECT_FALSE(parts_.back()->begun);
}

}  // namespace
}  // namespace gd2fs::client
