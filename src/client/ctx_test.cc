// A Ctx, its queues and its threads, against a cluster in memory over TCP.
#include "client/ctx.h"

#include <poll.h>
#include <thread>

#include <gtest/gtest.h>

#include "fabric/tcp_fabric.h"
#include "sim/memory_cluster.h"

namespace gd2fs::client {
namespace {

class CtxTest : public ::testing::Test {
 protected:
  CtxTest() {
    set_log_level(LogLevel::off);
    set_check_handler(check_throw);
    ClientOptions options;
    options.controllers = {cluster_.controller_address()};
    options.locals = {LocalAddress{}};
    options.cluster = "c";
    options.key = MemoryCluster::key();
    options.lanes = 2;
    options.timeout_ns = 20 * kSecond;
    options.log_level = LogLevel::off;
    serving_ = std::thread([this] { loop_.run(); });
    auto opened = Ctx::open(std::move(options));
    EXPECT_TRUE(opened.has_value()) << opened.error().to_string();
    ctx_ = std::move(*opened);
    iomem_ = *ctx_->add_iomem(memory_.data(), memory_.size());
  }
  ~CtxTest() override {
    if (ctx_ != nullptr) {
      ctx_->cancel_all();
      ctx_->stop();
      ctx_.reset();
    }
    loop_.stop();
    serving_.join();
    set_check_handler(check_abort);
    set_log_level(LogLevel::info);
  }
  MemoryCluster::Place place() {
    return {&loop_,
            "tcp://127.0.0.1:0",
            [this] { return std::make_unique<TcpFabric>(loop_, resolver_); },
            {}};
  }
  Result<uint64_t> transfer(uint16_t opcode, QueueHandle queue, uint64_t offset, size_t length,
                            uint64_t* number = nullptr) {
    const xfer_gd2fs_sge sge{memory_.data(), length,
                             reinterpret_cast<xfer_gd2fs_iomem*>(iomem_.load())};
    xfer_gd2fs_op op{};
    op.opcode = opcode;
    op.filepath = "/f";
    op.off = offset;
    op.sges = &sge;
    op.nsge = 1;
    op.request = number;
    return ctx_->submit(queue, op);
  }
  xfer_gd2fs_completion reap(QueueHandle queue) {
    xfer_gd2fs_completion done{};
    const auto reaped = ctx_->wait(queue, {&done, 1}, 20000);
    EXPECT_TRUE(reaped.has_value() && *reaped == 1);
    return done;
  }

  RealClock clock_;
  Loop loop_{clock_, Loop::Waits::epoll};
  ThreadWorker resolver_{"test-resolve"};
  MemoryCluster cluster_{place(), place()};
  std::thread serving_;
  std::vector<std::byte> memory_{4 << 20};
  std::unique_ptr<Ctx> ctx_;
  std::atomic<IomemHandle> iomem_ = 0;  // a test replaces it under the eyes of another thread
};

TEST_F(CtxTest, one_waiter_gets_each_completion_and_the_others_their_timeout) {
  std::atomic<int> reaped{0};
  std::vector<std::thread> waiters;
  for (int i = 0; i < 4; ++i) {
    waiters.emplace_back([&] {
      xfer_gd2fs_completion done[8];
      while (reaped.load() < 200) {
        const auto got = ctx_->wait(0, done, 10);
        ASSERT_TRUE(got.has_value());
        reaped += static_cast<int>(*got);
      }
    });
  }
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(*transfer(XFER_GD2FS_OP_WRITE, 0, 0, 100), 100u);
  }
  for (auto& waiter : waiters) waiter.join();
  EXPECT_EQ(reaped.load(), 200);
}

TEST_F(CtxTest, the_descriptor_is_readable_exactly_while_something_waits) {
  const QueueHandle queue = *ctx_->make_queue();
  pollfd ready{*ctx_->queue_fd(queue), POLLIN, 0};
  EXPECT_EQ(poll(&ready, 1, 0), 0);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(transfer(XFER_GD2FS_OP_WRITE, queue, 0, 10).has_value());
  for (int left = 3; left > 0; --left) {
    ASSERT_EQ(poll(&ready, 1, 20000), 1);
    EXPECT_EQ(reap(queue).status, 0);
  }
  EXPECT_EQ(poll(&ready, 1, 0), 0);
  // What completes on one queue never shows on another.
  xfer_gd2fs_completion none{};
  EXPECT_EQ(*ctx_->wait(0, {&none, 1}, 0), 0u);
  EXPECT_TRUE(ctx_->destroy_queue(queue).ok());
}

TEST_F(CtxTest, a_cancel_that_overtakes_its_request_still_ends_it_once) {
  for (int round = 0; round < 200; ++round) {
    uint64_t number = 0;
    std::atomic<uint64_t> seen{0};
    std::thread canceler([&] {
      while (seen.load() == 0) {
      }
      (void)ctx_->cancel(seen.load());
    });
    EXPECT_TRUE(transfer(XFER_GD2FS_OP_WRITE, 0, 0, 1 << 20, &number).has_value());
    seen = number;
    const uint16_t status = reap(0).status;
    EXPECT_TRUE(status == 0 || XFER_GD2FS_STATUS_CODE(status) == ECANCELED);
    canceler.join();
    xfer_gd2fs_completion none{};
    EXPECT_EQ(*ctx_->wait(0, {&none, 1}, 0), 0u);
  }
}

TEST_F(CtxTest, registering_and_forgetting_under_load_never_loses_a_request) {
  std::atomic<bool> stop{false};
  std::atomic<int> submitted{0};
  std::thread submitter([&] {
    while (!stop.load()) {
      // Refused with EINVAL in the moments when the memory is not registered.
      if (transfer(XFER_GD2FS_OP_READ, 0, 0, 64 << 10).has_value()) ++submitted;
      if (submitted.load() > 20000) break;
    }
  });
  EXPECT_TRUE(transfer(XFER_GD2FS_OP_WRITE, 0, 0, 1 << 20).has_value());
  ++submitted;
  for (int round = 0; round < 100; ++round) {
    EXPECT_TRUE(ctx_->remove_iomem(iomem_).ok());
    iomem_ = *ctx_->add_iomem(memory_.data(), memory_.size());
    std::this_thread::yield();
  }
  stop = true;
  submitter.join();
  int reaped = 0;
  std::vector<xfer_gd2fs_completion> done(1000);
  while (reaped < submitted.load()) {
    const auto got = ctx_->wait(0, done, 20000);
    ASSERT_TRUE(got.has_value() && *got > 0);
    reaped += static_cast<int>(*got);
  }
  EXPECT_EQ(*ctx_->wait(0, done, 0), 0u);
}

TEST_F(CtxTest, a_failed_check_ends_all_requests_with_client_eio_and_leaves_the_process_alone) {
  // Something that stays in flight: the server never answers.
  std::atomic<bool> silent{false};
  loop_.post([&] {
    cluster_.interfere = [](msg::Type type) -> std::optional<Status> {
      if (type != msg::Type::read) return std::nullopt;
      return Status(StatusCode::canceled);
    };
    silent = true;
  });
  while (!silent.load()) std::this_thread::yield();
  EXPECT_TRUE(transfer(XFER_GD2FS_OP_WRITE, 0, 0, 100).has_value());
  EXPECT_EQ(reap(0).status, 0);
  EXPECT_TRUE(transfer(XFER_GD2FS_OP_READ, 0, 0, 100).has_value());
  EXPECT_TRUE(ctx_->thread().submit([] { CHECK(1 + 1 == 3); }));
  const uint16_t status = reap(0).status;
  EXPECT_EQ(XFER_GD2FS_STATUS_CLASS(status), XFER_GD2FS_STATUS_CLASS_CLIENT);
  EXPECT_EQ(XFER_GD2FS_STATUS_CODE(status), static_cast<unsigned>(EIO));
  EXPECT_EQ(transfer(XFER_GD2FS_OP_READ, 0, 0, 100).error().errno_value(), EIO);
  EXPECT_TRUE(ctx_->remove_iomem(iomem_).ok());
  xfer_gd2fs_completion none{};
  EXPECT_EQ(ctx_->wait(0, {&none, 1}, 1000).error().errno_value(), EIO);
}

}  // namespace
}  // namespace gd2fs::client
