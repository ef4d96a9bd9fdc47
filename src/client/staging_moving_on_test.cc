// What has landed in the ring goes on to the GPU before the answer is there.
#include <algorithm>
#include <cstring>

#include "client/staging_fixture.h"

namespace gd2fs::client {
namespace {

class MovingOnTest : public StagingTest {
 protected:
  static constexpr uint64_t kStripe = Staging::kMoveOnBytes;
  static constexpr uint64_t kStripes = kGpuBytes / kStripe;

  void SetUp() override {
    StagingTest::SetUp();
    if (cuda().driver == nullptr) return;
    begin_read();
  }
  void TearDown() override {
    if (cuda().driver == nullptr) return;
    if (cuda().fake()) {
      cuda().hold(0);
      cuda().refuse_copies(0, 0);
    }
    settle();
  }
  // All of it one piece of the GPU's.
  void begin_read() { begin_read(gpu_memory_->data(), kGpuBytes); }
  void begin_read(std::byte* data, uint64_t length_bytes) {
    const std::vector<MemorySegment> all{{data, length_bytes, target_, 1}};
    Waited ready;
    staging_.begin(all, Window::Direction::sink, ready.done);
    ASSERT_TRUE(run_until([&] { return ready.ended; }));
    staging_.begin_sending(true);
  }
  void begin_again() {
    staging_.release();
    begin_read();
  }
  void settle() {
    Waited settled;
    staging_.settle(settled.done);
    ASSERT_TRUE(run_until([&] { return settled.ended; }));
    EXPECT_FALSE(staging_.moving_on());
  }
  void all_land(ConstBytes bytes) {
    fill_window(staging_, bytes);
    all_landed();
  }
  void all_landed() {
    for (uint64_t i = 0; i < kStripes; ++i) staging_.landed(i * kStripe, kStripe);
  }
  std::vector<std::byte> random() { return cuda::random_bytes(random_, kGpuBytes); }
  bool moved(uint64_t bytes) {
    return run_until([&] { return moved_.gpu_ring_read_bytes == bytes; });
  }

  GpuRings rings_{loop_, gpu_, moved_, GpuRing::kRingLeastBytes};
  Staging staging_{rings_};
};

TEST_F(MovingOnTest, stripes_that_land_in_any_order_are_in_the_gpu_before_land) {
  const auto bytes = random();
  fill_window(staging_, bytes);
  for (uint64_t i = 0; i < kStripes; ++i) {
    staging_.landed((i * 7 % kStripes) * kStripe, kStripe);
    if (random_.chance(1, 2)) run_for(100 * kUs);
  }
  ASSERT_TRUE(moved(kGpuBytes));
  EXPECT_TRUE(gpu_memory_->get() == bytes);
  // Nothing is left to do for land().
  fill_window(staging_, random());
  land(staging_);
  EXPECT_TRUE(gpu_memory_->get() == bytes);
  EXPECT_EQ(moved_.gpu_ring_read_bytes, kGpuBytes);
}

TEST_F(MovingOnTest, what_was_not_told_of_is_copied_by_land) {
  const auto bytes = random();
  fill_window(staging_, bytes);
  for (uint64_t at = 0; at < kGpuBytes;) {
    const uint64_t length = std::min(random_.between(1, 700'000), kGpuBytes - at);
    if (random_.chance(1, 2)) staging_.landed(at, length);
    at += length;
  }
  land(staging_);
  EXPECT_TRUE(gpu_memory_->get() == bytes);
  EXPECT_EQ(moved_.gpu_ring_read_bytes, kGpuBytes);
}

// The bytes of the first sending may reach the GPU after those of the second were taken.
TEST_F(MovingOnTest, a_second_sending_has_the_last_word) {
  GD2FS_NEEDS_FAKE_CUDA();
  for (const bool early_end : {false, true}) {
    cuda().hold(1);
    all_land(random());
    run_for(kMs);
    staging_.begin_sending(true);
    const uint64_t copies = cuda().counts().copies;
    const auto bytes = random();
    fill_window(staging_, bytes);
    if (early_end) cuda().hold(0);
    all_landed();
    Waited landed;
    staging_.land(landed.done);
    if (!early_end) {
      run_for(20 * kMs);
      EXPECT_FALSE(landed.ended);
      // Nobody says in which order two copies to one place end.
      EXPECT_EQ(cuda().counts().copies, copies);
    }
    cuda().hold(0);
    ASSERT_TRUE(run_until([&] { return landed.ended; }));
    EXPECT_TRUE(landed.status.ok());
    EXPECT_TRUE(gpu_memory_->get() == bytes) << early_end;
    begin_again();
  }
}

TEST_F(MovingOnTest, neither_do_bytes_of_a_second_sending_go_straight_beside_those_of_the_first) {
  GD2FS_NEEDS_FAKE_CUDA();
  copy_straight(staging_, 0, {shared_->data(), 100});  // pinned by now
  cuda().hold(1);
  staging_.landed(0, kStripe);
  run_for(kMs);
  staging_.begin_sending(true);
  TestPart part;
  describe(0, {shared_->data(), 1000}, &part);
  EXPECT_FALSE(staging_.take(part));
  cuda().hold(0);
  ASSERT_TRUE(run_until([&] { return !staging_.moving_on(); }));
  ASSERT_TRUE(staging_.take(part));
  ASSERT_TRUE(run_until([&] { return part.ended; }));
}

// The kernel would wait for a processor, and its stream takes GPU memory.
TEST_F(MovingOnTest, stripes_apart_from_each_other_go_by_the_copy_engine_on_one_stream) {
  GD2FS_NEEDS_FAKE_CUDA();
  const auto before = cuda().counts();
  const auto bytes = random();
  fill_window(staging_, bytes);
  cuda().hold(1);
  for (uint64_t i = 0; i < kStripes; i += 2) staging_.landed(i * kStripe, kStripe);
  run_for(kMs);
  cuda().hold(0);
  constexpr uint64_t kApart = (kStripes + 1) / 2;
  ASSERT_TRUE(moved(kApart * kStripe));
  land(staging_);
  EXPECT_TRUE(gpu_memory_->get() == bytes);
  EXPECT_EQ(cuda().counts().streams, before.streams);
  // What land() found left are two short pieces.
  EXPECT_LE(cuda().counts().launches, before.launches + 1);
  EXPECT_GE(cuda().counts().copies, before.copies + kApart);
}

TEST_F(MovingOnTest, what_comes_in_crumbs_goes_on_when_enough_is_together) {
  const auto bytes = random();
  fill_window(staging_, bytes);
  constexpr uint64_t kTogether = Staging::kMoveOnBytes;
  for (uint64_t at = 0; at < kTogether - 1; at += 1000) {
    staging_.landed(kTogether + at, std::min<uint64_t>(1000, kTogether - 1 - at));
  }
  run_for(kMs);
  EXPECT_FALSE(staging_.moving_on());
  staging_.landed(2 * kTogether - 1, 1 + kTogether / 2);  // also half of what is next
  ASSERT_TRUE(moved(kTogether));
  EXPECT_FALSE(staging_.moving_on());
  const auto got = gpu_memory_->get();
  const auto from = static_cast<ptrdiff_t>(kTogether);
  EXPECT_TRUE(std::equal(got.begin() + from, got.begin() + 2 * from, bytes.begin() + from));
  land(staging_);
  EXPECT_TRUE(gpu_memory_->get() == bytes);
  EXPECT_EQ(moved_.gpu_ring_read_bytes, kGpuBytes);
}

TEST_F(MovingOnTest, settling_waits_for_what_was_begun_and_takes_the_rest_back) {
  GD2FS_NEEDS_FAKE_CUDA();
  constexpr uint64_t kBegun = GpuStraight::kOutOfRing.ahead_bytes;
  constexpr uint64_t kAll = kBegun + 4 * kStripe;
  const cuda::TestMemory memory(context_->get(), kAll);
  staging_.release();
  begin_read(memory.data(), kAll);
  const std::vector<std::byte> canary(kAll, std::byte{0xc5});
  memory.set(canary);
  cuda().hold(1);
  const auto bytes = cuda::random_bytes(random_, kAll);
  fill_window(staging_, bytes);
  // One copy each, until no more may be under way.
  for (uint64_t at = 0; at < kAll; at += kStripe) {
    staging_.landed(at, kStripe);
    run_for(kMs);
  }
  Waited settled;
  staging_.settle(settled.done);
  run_for(20 * kMs);
  EXPECT_FALSE(settled.ended);
  cuda().hold(0);
  ASSERT_TRUE(run_until([&] { return settled.ended; }));
  EXPECT_EQ(moved_.gpu_ring_read_bytes, kBegun);
  const auto got = memory.get();
  EXPECT_TRUE(std::equal(got.begin(), got.begin() + kBegun, bytes.begin()));
  EXPECT_TRUE(std::equal(got.begin() + kBegun, got.end(), canary.begin()));
  staging_.release();
}

TEST_F(MovingOnTest, a_copy_that_fails_on_the_way_is_made_again_by_land_which_says_what_is_wrong) {
  GD2FS_NEEDS_FAKE_CUDA();
  for (const int failures : {1, 1000}) {
    cuda().refuse_copies(failures, 1);
    const auto bytes = random();
    all_land(bytes);
    Waited landed;
    staging_.land(landed.done);
    ASSERT_TRUE(run_until([&] { return landed.ended; }));
    cuda().refuse_copies(0, 0);
    EXPECT_EQ(landed.status.ok(), failures == 1) << landed.status.to_string();
    if (failures == 1) {
      EXPECT_TRUE(gpu_memory_->get() == bytes);
    }
    begin_again();
  }
}

TEST_F(MovingOnTest, without_being_asked_to_nothing_goes_on) {
  staging_.begin_sending(false);
  const auto bytes = random();
  all_land(bytes);
  EXPECT_FALSE(staging_.moving_on());
  land(staging_);
  EXPECT_TRUE(gpu_memory_->get() == bytes);
}

// Where each byte of a window belongs is not looked up for host memory, nor for short pieces.
TEST_F(MovingOnTest, what_is_mixed_or_short_waits_for_land) {
  Staging mixed(rings_);
  begin(mixed, Window::Direction::sink);
  mixed.begin_sending(true);
  const auto bytes = cuda::random_bytes(random_, kWindow);
  fill_window(mixed, bytes);
  mixed.landed(0, kWindow);
  EXPECT_FALSE(mixed.moving_on());
  land(mixed);
  EXPECT_EQ(in_window_order(), bytes);

  Staging scattered(rings_);
  std::vector<MemorySegment> pieces;
  for (uint64_t at = 0; at + 4096 <= kGpuBytes; at += 8192) {
    pieces.push_back({gpu_memory_->data() + at, 4096, target_, 1});
  }
  Waited ready;
  scattered.begin(pieces, Window::Direction::sink, ready.done);
  ASSERT_TRUE(run_until([&] { return ready.ended; }));
  scattered.begin_sending(true);
  scattered.landed(0, pieces.size() * 4096);
  EXPECT_FALSE(scattered.moving_on());
}

}  // namespace
}  // namespace gd2fs::client
