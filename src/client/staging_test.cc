// A batch's way to GPU memory: through slots of the ring, and past them out of memory that is
// shared with the server.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "client/staging_fixture.h"

namespace gd2fs::client {
namespace {

TEST_F(StagingTest, what_arrives_in_the_window_lands_in_the_gpu_and_comes_back) {
  GpuRings rings(loop_, gpu_, moved_, GpuRing::kRingLeastBytes);
  const auto bytes = cuda::random_bytes(random_, kWindow);
  {
    Staging staging(rings);
    begin(staging, Window::Direction::sink);
    fill_window(staging, bytes);
    land(staging);
    EXPECT_EQ(in_window_order(), bytes);
  }
  Staging staging(rings);
  begin(staging, Window::Direction::source);
  std::vector<std::byte> got;
  for (const MemorySegment& segment : staging.window()) {
    got.insert(got.end(), segment.data, segment.data + segment.length_bytes);
  }
  EXPECT_EQ(got, bytes);
}

// The slots of what went straight to the GPU hold an earlier batch's bytes: they must stay there.
TEST_F(StagingTest, what_went_straight_to_the_gpu_is_not_overwritten_from_the_ring) {
  GpuRings rings(loop_, gpu_, moved_, GpuRing::kRingLeastBytes);
  for (int round = 0; round < 6; ++round) {
    Staging staging(rings);
    begin(staging, Window::Direction::sink);
    staging.begin_sending();
    auto expected = cuda::random_bytes(random_, kWindow);
    fill_window(staging, expected);
    for (uint64_t at = 1000 + random_.below(5000); at < kWindow;) {
      const uint64_t length = std::min(random_.between(1, 400'000), kWindow - at);
      const ConstBytes from{shared_->data() + random_.below(1 << 20), length};
      copy_straight(staging, at, from);
      if (random_.chance(3, 4)) {
        staging.arrived(at, length);
        std::memcpy(expected.data() + at, from.data(), length);
      }
      at += length + (random_.chance(1, 2) ? random_.below(100'000) : 0);
    }
    land(staging);
    ASSERT_EQ(in_window_order(), expected) << "round " << round;
  }
}

TEST_F(StagingTest, a_read_begins_at_once_when_slots_are_free_and_nobody_waits_for_them) {
  GpuRings rings(loop_, gpu_, moved_, GpuRing::kRingLeastBytes);
  const auto bytes = cuda::random_bytes(random_, kWindow);
  {
    Staging first(rings);
    EXPECT_FALSE(first.begin_now(segments()));  // nothing is pinned yet
    begin(first, Window::Direction::sink);
  }
  Staging staging(rings);
  ASSERT_TRUE(staging.begin_now(segments()));
  fill_window(staging, bytes);
  land(staging);
  EXPECT_EQ(in_window_order(), bytes);

  // Until there is none left; then one waits, and whoever comes after it does not overtake.
  std::vector<std::unique_ptr<Staging>> others;
  do {
    others.push_back(std::make_unique<Staging>(rings));
  } while (others.back()->begin_now(segments()));
  Waited ready;
  others.back()->begin(segments(), Window::Direction::sink, ready.done);
  others.front()->release();
  Staging late(rings);
  EXPECT_FALSE(late.begin_now(segments()));
  ASSERT_TRUE(run_until([&] { return ready.ended; }));
}

TEST_F(StagingTest, a_large_part_goes_at_once_when_the_link_idles) {
  GpuRings rings(loop_, gpu_, moved_, GpuRing::kRingLeastBytes);
  Staging staging(rings);
  begin(staging, Window::Direction::sink);
  staging.begin_sending();
  copy_straight(staging, 1000, {shared_->data(), 1000});  // from here on it is pinned
  TestPart small;
  TestPart large;
  TestPart another;
  describe(2000, {shared_->data(), 1000}, &small);
  describe(3000, {shared_->data(), GpuStraight::kToGpu.alone_bytes}, &large);
  describe(3000 + GpuStraight::kToGpu.alone_bytes,
           {shared_->data(), GpuStraight::kToGpu.alone_bytes}, &another);
  ASSERT_TRUE(staging.take(small));
  EXPECT_FALSE(small.begun);  // others may come
  ASSERT_TRUE(staging.take(large));
  EXPECT_TRUE(large.begun && small.begun);
  ASSERT_TRUE(staging.take(another));
  EXPECT_FALSE(another.begun);  // the link has something to do
  ASSERT_TRUE(run_until([&] { return small.ended && large.ended && another.ended; }));
}

TEST_F(StagingTest, a_second_sending_forgets_what_the_first_brought) {
  GpuRings rings(loop_, gpu_, moved_, GpuRing::kRingLeastBytes);
  Staging staging(rings);
  begin(staging, Window::Direction::sink);
  staging.begin_sending();
  copy_straight(staging, 2000, {shared_->data(), 100'000});
  staging.arrived(2000, 100'000);
  staging.begin_sending();
  const auto bytes = cuda::random_bytes(random_, kWindow);
  fill_window(staging, bytes);
  land(staging);
  EXPECT_EQ(in_window_order(), bytes);
}

TEST_F(StagingTest, a_range_that_is_partly_host_memory_belongs_into_the_window) {
  GpuRings rings(loop_, gpu_, moved_, GpuRing::kRingLeastBytes);
  Staging staging(rings);
  begin(staging, Window::Direction::sink);
  copy_straight(staging, 1000, {shared_->data(), 100});  // pinned by now
  TestPart part;
  describe(999, {shared_->data(), 100}, &part);
  EXPECT_FALSE(staging.take(part));
  describe(0, {shared_->data(), 10}, &part);
  EXPECT_FALSE(staging.take(part));
}

TEST_F(StagingTest, parts_that_come_while_the_link_is_busy_become_one_copy) {
  GD2FS_NEEDS_FAKE_CUDA();
  GpuRings rings(loop_, gpu_, moved_, GpuRing::kRingLeastBytes);
  Staging staging(rings);
  begin(staging, Window::Direction::sink);
  copy_straight(staging, 1000, {shared_->data(), 100});  // pinned by now
  staging.begin_sending();
  cuda().hold(1);
  constexpr uint64_t kPart = 128 << 10;
  std::vector<std::unique_ptr<TestPart>> parts;
  const auto offer = [&] {
    auto& part = parts.emplace_back(std::make_unique<TestPart>());
    const uint64_t at = (parts.size() - 1) * kPart;
    describe(1000 + at, {shared_->data() + at, kPart}, part.get());
    ASSERT_TRUE(staging.take(*part));
    run_for(kMs);
  };
  do {
    offer();
  } while (parts.back()->begun);
  const uint64_t copies = cuda().counts().copies;
  for (int i = 0; i < 4; ++i) offer();
  EXPECT_EQ(cuda().counts().copies, copies);
  TestPart& last = *parts.back();
  EXPECT_TRUE(staging.take_back(last));
  EXPECT_FALSE(staging.take_back(*parts.front()));
  cuda().hold(0);
  EXPECT_TRUE(run_until([&] {
    return std::ranges::all_of(parts,
                               [&](auto& part) { return part->ended || part.get() == &last; });
  }));
  EXPECT_EQ(cuda().counts().copies, copies + 1);
  EXPECT_FALSE(last.ended);
}

TEST_F(StagingTest, shared_memory_that_only_we_hold_is_let_go) {
  GpuRings rings(loop_, gpu_, moved_, GpuRing::kRingLeastBytes);
  const std::weak_ptr<HostMemory> gone = shared_;
  {
    Staging staging(rings);
    begin(staging, Window::Direction::sink);
    copy_straight(staging, 1000, {shared_->data(), 100});
  }
  shared_.reset();
  EXPECT_FALSE(gone.expired());
  // Other memory comes: the old is swept out.
  shared_ = std::make_shared<HostMemory>(1 << 20);
  Staging staging(rings);
  begin(staging, Window::Direction::sink);
  copy_straight(staging, 1000, {shared_->data(), 100});
  EXPECT_TRUE(run_until([&] { return gone.expired(); }));
}

TEST_F(StagingTest, a_source_goes_straight_into_shared_memory_once_that_is_pinned) {
  GpuRings rings(loop_, gpu_, moved_, GpuRing::kRingLeastBytes);
  const auto bytes = cuda::random_bytes(random_, kGpuBytes);
  gpu_memory_->set(bytes);
  const std::vector<MemorySegment> all{{gpu_memory_->data(), kGpuBytes, target_, 1}};
  const SharedStaging into{shared(), shared_};
  Staging staging(rings);
  EXPECT_FALSE(staging.may_go_straight(all, {}));
  EXPECT_FALSE(staging.may_go_straight(segments(), into));  // partly host memory
  ASSERT_TRUE(run_until([&] { return staging.may_go_straight(all, into); }));
  staging.begin_straight(all);
  staging.begin_sending();
  std::vector<std::unique_ptr<TestPart>> parts;
  for (uint64_t at = 0; at < kGpuBytes; at += 512 << 10) {
    auto& part = parts.emplace_back(std::make_unique<TestPart>());
    describe(at, {shared_->data() + at, 512 << 10}, part.get());
    ASSERT_TRUE(staging.take(*part));
  }
  const auto ended = [](const auto& part) { return part->ended && part->status.ok(); };
  ASSERT_TRUE(run_until([&] { return std::ranges::all_of(parts, ended); }));
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), shared_->data()));
  EXPECT_TRUE(staging.trouble().ok());
  EXPECT_EQ(moved_.gpu_straight_write_bytes, kGpuBytes);
  EXPECT_EQ(moved_.gpu_ring_write_bytes, 0);
}

TEST_F(StagingTest, a_copy_out_of_the_gpu_that_fails_is_the_source_s_trouble) {
  GD2FS_NEEDS_FAKE_CUDA();
  GpuRings rings(loop_, gpu_, moved_, GpuRing::kRingLeastBytes);
  const std::vector<MemorySegment> all{{gpu_memory_->data(), kGpuBytes, target_, 1}};
  const SharedStaging into{shared(), shared_};
  Staging staging(rings);
  ASSERT_TRUE(run_until([&] { return staging.may_go_straight(all, into); }));
  staging.begin_straight(all);
  staging.begin_sending();
  cuda().refuse_copies(1, 2);
  TestPart part;
  describe(0, {shared_->data(), 100'000}, &part);
  ASSERT_TRUE(staging.take(part));
  ASSERT_TRUE(run_until([&] { return part.ended; }));
  EXPECT_FALSE(part.status.ok());
  EXPECT_FALSE(staging.trouble().ok());
  staging.begin_sending();  // a new attempt
  EXPECT_TRUE(staging.trouble().ok());
}

TEST_F(StagingTest, where_it_is_required_parts_wait_for_the_pinning_or_fail_with_it) {
  GD2FS_NEEDS_FAKE_CUDA();
  GpuRings rings(loop_, gpu_, moved_, GpuRing::kRingLeastBytes, true);
  Staging staging(rings);
  begin(staging, Window::Direction::sink);
  staging.begin_sending();
  TestPart first;
  describe(1000, {shared_->data(), 100'000}, &first);
  EXPECT_TRUE(staging.take(first));
  ASSERT_TRUE(run_until([&] { return first.ended; }));
  EXPECT_TRUE(first.status.ok());
  // Other memory cannot be pinned.
  const auto other = std::make_shared<HostMemory>(4 << 20);
  cuda().refuse_registrations(4 << 20, 2);
  TestPart second;
  describe(200'000, {other->data(), 1000}, &second);
  second.mapping = {other->data(), other->size()};
  second.keeps = other;
  EXPECT_TRUE(staging.take(second));
  ASSERT_TRUE(run_until([&] { return second.ended; }));
  EXPECT_EQ(second.status.errno_value(), ENOTSUP);
  cuda().refuse_registrations(0, 0);
  Waited landed;
  staging.land(landed.done);
  ASSERT_TRUE(run_until([&] { return landed.ended; }));
  EXPECT_EQ(landed.status.errno_value(), ENOTSUP);
}

TEST_F(StagingTest, what_never_fits_a_ring_that_cannot_grow_fails_each_time_and_holds_nobody_up) {
  GD2FS_NEEDS_FAKE_CUDA();
  ThreadWorker worker("ring");
  GpuRing ring(loop_, gpu_, worker, target_, GpuRing::kRingLeastBytes, nullptr);
  const auto ask = [&](size_t slots) {
    GpuRing::Wish wish;
    Waited ended;
    wish.slot_count = slots;
    wish.done.bind<&Waited::on_done>(&ended);
    ring.take(wish);
    EXPECT_TRUE(run_until([&] { return ended.ended; })) << slots << " slots";
    ring.put(&wish.slots);
    return ended.status;
  };
  ASSERT_TRUE(ask(1).ok());
  cuda().refuse_registrations(GpuRing::kStepBytes, 2);
  EXPECT_FALSE(ask(GpuRing::kStepSlots).ok());  // its growing fails
  EXPECT_FALSE(ask(GpuRing::kStepSlots).ok());  // nobody tries again
  EXPECT_TRUE(ask(GpuRing::kStepSlots / 2).ok());
  cuda().refuse_registrations(0, 0);
}

TEST_F(StagingTest, a_part_that_waits_for_the_pinning_can_be_taken_back) {
  GpuRings rings(loop_, gpu_, moved_, GpuRing::kRingLeastBytes, true);
  Staging staging(rings);
  begin(staging, Window::Direction::sink);
  staging.begin_sending();
  TestPart part;
  describe(1000, {shared_->data(), 100'000}, &part);
  EXPECT_TRUE(staging.take(part));
  EXPECT_TRUE(staging.take_back(part));
  run_for(50 * kMs);
  EXPECT_FALSE(part.ended);
}

}  // namespace
}  // namespace gd2fs::client
