// Requests on GPU memory whose copies fail or are late, whose context goes away, or that
// end early.
#include <thread>

#include "client/ctx_gpu_fixture.h"

namespace gd2fs::client {
namespace {

TEST_F(CtxGpuTest, a_copy_that_fails_is_client_eio_and_the_ctx_goes_on) {
  GD2FS_NEEDS_FAKE_CUDA();
  EXPECT_EQ(run(kWrite, whole(0)).status, 0);
  for (const uint16_t opcode : {kRead, kWrite}) {
    cuda().refuse_copies(1000, 1);  // a stripe's is made once more with its batch's
    const auto done = run(opcode, whole(0));
    cuda().refuse_copies(0, 0);
    EXPECT_EQ(XFER_GD2FS_STATUS_CLASS(done.status), XFER_GD2FS_STATUS_CLASS_CLIENT);
    EXPECT_EQ(XFER_GD2FS_STATUS_CODE(done.status), unsigned{EIO});
    EXPECT_EQ(XFER_GD2FS_STATUS_DETAIL(done.status), XFER_GD2FS_STATUS_DETAIL_IOMEM);
    EXPECT_EQ(done.value, 0u);
    EXPECT_EQ(run(opcode, whole(0)).value, kGpuBytes);
  }
}

TEST_F(CtxGpuTest, a_context_that_is_reset_under_a_request_fails_it_and_new_memory_works) {
  GD2FS_NEEDS_FAKE_CUDA();
  EXPECT_EQ(run(kWrite, whole(0)).status, 0);
  cuda().hold(1);
  ASSERT_TRUE(submit(kRead, whole(0)).has_value());
  wait_until_queued(2);
  ASSERT_EQ(cuda().primary_context_reset(0), cuda::kSuccess);
  cuda().hold(0);
  auto done = reap();
  EXPECT_EQ(XFER_GD2FS_STATUS_CLASS(done.status), XFER_GD2FS_STATUS_CLASS_CLIENT);
  EXPECT_EQ(XFER_GD2FS_STATUS_CODE(done.status), unsigned{EIO});
  EXPECT_EQ(XFER_GD2FS_STATUS_CODE(run(kWrite, whole(0)).status), unsigned{EIO});
  EXPECT_EQ(run(kRead, {sge(host_.data(), 4096, host_iomem_)}).status, 0);
  EXPECT_TRUE(ctx_->remove_iomem(iomems_[0]).ok());
  gpus_.erase(gpus_.begin());
  contexts_.erase(contexts_.begin());

  const TestContext again;
  const TestMemory fresh(again.get(), 1 << 20);
  const auto iomem = ctx_->add_iomem(fresh.data(), fresh.size());
  ASSERT_TRUE(iomem.has_value()) << iomem.error().to_string();
  EXPECT_EQ(run(kRead, {sge(fresh.data(), 1 << 20, *iomem)}).status, 0);
  EXPECT_EQ(std::memcmp(fresh.get().data(), host_.data(), 4096), 0);
  EXPECT_TRUE(ctx_->remove_iomem(*iomem).ok());
  close();
}

// --- nothing touches the memory after the request's end ---

TEST_F(CtxGpuTest, deregistering_waits_for_the_copies_and_nothing_arrives_late) {
  GD2FS_NEEDS_FAKE_CUDA();
  EXPECT_EQ(run(kWrite, whole(0)).status, 0);
  cuda().hold(1);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(submit(kRead, whole(0)).has_value());
  wait_until_queued(2);
  std::atomic<bool> removed{false};
  std::thread remover([&] {
    EXPECT_TRUE(ctx_->remove_iomem(iomems_[0]).ok());
    removed = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_FALSE(removed.load());
  cuda().hold(0);
  remover.join();
  const std::vector<std::byte> canary(kGpuBytes, std::byte{0xc5});
  gpus_[0]->set(canary);
  for (int i = 0; i < 3; ++i) {
    const uint16_t status = reap().status;
    EXPECT_TRUE(status == 0 || XFER_GD2FS_STATUS_CODE(status) == ECANCELED);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_TRUE(gpus_[0]->get() == canary);
}

TEST_F(CtxGpuTest, closing_waits_for_the_copies) {
  GD2FS_NEEDS_FAKE_CUDA();
  EXPECT_EQ(run(kWrite, whole(0)).status, 0);
  cuda().hold(1);
  for (int i = 0; i < 3; ++i)
    ASSERT_TRUE(submit(i % 2 == 0 ? kRead : kWrite, whole(0)).has_value());
  wait_until_queued(2);
  std::atomic<bool> closed{false};
  std::thread closer([&] {
    close();
    closed = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_FALSE(closed.load());
  cuda().hold(0);
  closer.join();
  const std::vector<std::byte> canary(kGpuBytes, std::byte{0xc5});
  gpus_[0]->set(canary);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_TRUE(gpus_[0]->get() == canary);
}

TEST_F(CtxGpuTest, a_request_whose_time_is_up_completes_only_after_its_copies) {
  GD2FS_NEEDS_FAKE_CUDA();
  close();
  open(kShortTimeoutNs);
  EXPECT_EQ(run(kWrite, whole(0)).status, 0);
  for (const uint64_t length : {1 << 20, 4 << 20}) {  // the longer one's bytes go on as they come
    cuda().hold(1);
    ASSERT_TRUE(submit(kRead, whole(0, length)).has_value());
    wait_until_queued(2);
    EXPECT_TRUE(nothing_for(static_cast<int>(2 * kShortTimeoutNs / kMs)));
    cuda().hold(0);
    const uint16_t status = reap().status;
    EXPECT_EQ(XFER_GD2FS_STATUS_CLASS(status), XFER_GD2FS_STATUS_CLASS_TRANSPORT);
    EXPECT_EQ(XFER_GD2FS_STATUS_CODE(status), unsigned{ETIMEDOUT});
  }
}

TEST_F(CtxGpuTest, a_read_that_fails_ends_after_the_copies_of_what_had_come) {
  GD2FS_NEEDS_FAKE_CUDA();
  EXPECT_EQ(run(kWrite, whole(0)).status, 0);
  cuda().hold(1);
  cluster_.end_read_with = Status(StatusCode::io, "a drive failed", EIO);
  ASSERT_TRUE(submit(kRead, whole(0, 4 << 20)).has_value());
  wait_until_queued(2);
  EXPECT_TRUE(nothing_for(100));
  cuda().hold(0);
  const uint16_t status = reap().status;
  EXPECT_EQ(XFER_GD2FS_STATUS_CLASS(status), XFER_GD2FS_STATUS_CLASS_SERVER);
  EXPECT_EQ(XFER_GD2FS_STATUS_CODE(status), unsigned{EIO});
  const std::vector<std::byte> canary(kGpuBytes, std::byte{0xc5});
  gpus_[0]->set(canary);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_TRUE(gpus_[0]->get() == canary);
}

// What the first answer brought has gone on to the GPU, and may come there late.
TEST_F(CtxGpuTest, a_read_that_starts_over_has_the_bytes_of_the_last_answer) {
  GD2FS_NEEDS_FAKE_CUDA();
  constexpr uint64_t kLength = 4 << 20;
  EXPECT_EQ(run(kWrite, whole(0)).status, 0);
  random_.fill(host_);
  cuda().hold(1);
  cluster_.end_read_with = Status(StatusCode::stale);
  ASSERT_TRUE(submit(kRead, whole(0, kLength)).has_value());
  wait_until_queued(2);
  EXPECT_EQ(run(kWrite, {sge(host_.data(), kLength, host_iomem_)}).status, 0);
  cuda().hold(0);
  EXPECT_EQ(reap().value, kLength);
  EXPECT_EQ(std::memcmp(gpus_[0]->get().data(), host_.data(), kLength), 0);
}

TEST_F(CtxGpuTest, a_write_whose_bytes_do_not_leave_the_gpu_in_time_ends_after_their_copy) {
  GD2FS_NEEDS_FAKE_CUDA();
  close();
  open(kShortTimeoutNs);
  cuda().hold(1);
  ASSERT_TRUE(submit(kWrite, whole(0, 1 << 20)).has_value());
  wait_until_queued(2);
  EXPECT_TRUE(nothing_for(static_cast<int>(2 * kShortTimeoutNs / kMs)));
  cuda().hold(0);
  EXPECT_EQ(XFER_GD2FS_STATUS_CODE(reap().status), unsigned{ETIMEDOUT});
}

TEST_F(CtxGpuTest, a_ctx_that_breaks_completes_its_requests_after_their_copies) {
  GD2FS_NEEDS_FAKE_CUDA();
  EXPECT_EQ(run(kWrite, whole(0)).status, 0);
  set_check_handler(check_throw);
  cuda().hold(1);
  ASSERT_TRUE(submit(kRead, whole(0)).has_value());
  wait_until_queued(2);
  std::thread breaker([&] { (void)ctx_->thread().submit([] { CHECK(1 + 1 == 3); }); });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  cuda().hold(0);
  breaker.join();
  EXPECT_EQ(XFER_GD2FS_STATUS_CODE(reap().status), unsigned{EIO});
  const std::vector<std::byte> canary(kGpuBytes, std::byte{0xc5});
  gpus_[0]->set(canary);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_TRUE(gpus_[0]->get() == canary);
  set_check_handler(check_abort);
}

TEST_F(CtxGpuTest, requests_that_wait_for_the_ring_are_canceled_at_once) {
  GD2FS_NEEDS_FAKE_CUDA();
  EXPECT_EQ(run(kWrite, whole(0)).status, 0);
  cuda().hold(1);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(submit(kRead, whole(0)).has_value());
  wait_until_queued(8);
  uint64_t number = 0;
  ASSERT_TRUE(submit(kRead, whole(0, 64 << 10), 0, 0, &number).has_value());
  ASSERT_TRUE(submit(kWrite, whole(0), 0, 0, &number).has_value());
  EXPECT_TRUE(ctx_->cancel(number).ok());
  EXPECT_EQ(XFER_GD2FS_STATUS_CODE(reap().status), unsigned{ECANCELED});
  cuda().hold(0);
  for (int i = 0; i < 11; ++i) EXPECT_EQ(reap().status, 0);
}

// --- the order after the caller's own work ---

}  // namespace
}  // namespace gd2fs::client
