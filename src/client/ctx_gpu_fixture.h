// CtxGpuTest: a Ctx on the fake driver (or the machine's own, with GD2FS_TEST_REAL_GPU=1) against a
// cluster in memory over TCP, and GPU memory for its requests.
#pragma once

#include <algorithm>
#include <memory>
#include <thread>
#include <vector>

#include "base/log.h"
#include "client/ctx.h"
#include "fabric/tcp_fabric.h"
#include "gpu/test_cuda.h"
#include "sim/memory_cluster.h"

namespace gd2fs::client {

class CtxGpuTest : public ::testing::Test {
 protected:
  using Current = cuda::Current;
  using TestContext = cuda::TestContext;
  using TestCuda = cuda::TestCuda;
  using TestMemory = cuda::TestMemory;
  static constexpr uint16_t kRead = XFER_GD2FS_OP_READ;
  static constexpr uint16_t kWrite = XFER_GD2FS_OP_WRITE;
  static constexpr size_t kGpuBytes = 20 << 20;
  // That runs out while a copy is held, and not before it begins, however slow the machine is.
  static constexpr uint64_t kShortTimeoutNs = 1500 * kMs;

  void SetUp() override {
    GD2FS_NEEDS_CUDA();
    set_log_level(LogLevel::off);
    serving_ = std::thread([this] { loop_.run(); });
    for (int device = 0; device < std::min(cuda().devices, 2); ++device) {
      contexts_.push_back(std::make_unique<TestContext>(device));
      gpus_.push_back(std::make_unique<TestMemory>(contexts_.back()->get(), kGpuBytes));
    }
    open(20 * kSecond);
  }
  void TearDown() override {
    if (cuda().fake()) {
      cuda().hold(0);
      cuda().refuse_copies(0, 0);
      cuda().break_next(0);
    }
    close();
    gpus_.clear();
    contexts_.clear();
    if (serving_.joinable()) {
      loop_.stop();
      serving_.join();
    }
    set_log_level(LogLevel::info);
  }
  TestCuda& cuda() { return TestCuda::instance(); }

  void open(uint64_t timeout_ns) {
    ClientOptions options;
    options.controllers = {cluster_.controller_address()};
    options.locals = {LocalAddress{}};
    options.cluster = "c";
    options.key = MemoryCluster::key();
    options.lanes = 2;
    options.timeout_ns = timeout_ns;
    options.log_level = LogLevel::off;
    options.gpu_ring_max_bytes = GpuRing::kRingLeastBytes;
    auto opened = Ctx::open(std::move(options));
    ASSERT_TRUE(opened.has_value()) << opened.error().to_string();
    ctx_ = std::move(*opened);
    iomems_.clear();
    for (const auto& gpu : gpus_) iomems_.push_back(*ctx_->add_iomem(gpu->data(), gpu->size()));
    host_iomem_ = *ctx_->add_iomem(host_.data(), host_.size());
  }
  void close() {
    if (ctx_ == nullptr) return;
    ctx_->cancel_all();
    ctx_->stop();
    ctx_.reset();
  }
  MemoryCluster::Place place() {
    return {&loop_,
            "tcp://127.0.0.1:0",
            [this] { return std::make_unique<TcpFabric>(loop_, resolver_); },
            {}};
  }

  using Sges = std::vector<xfer_gd2fs_sge>;
  static xfer_gd2fs_sge sge(std::byte* at, uint64_t length, IomemHandle iomem) {
    return {at, length, reinterpret_cast<xfer_gd2fs_iomem*>(iomem)};
  }
  Sges whole(size_t gpu, uint64_t length = kGpuBytes) {
    return {sge(gpus_[gpu]->data(), length, iomems_[gpu])};
  }
  Result<uint64_t> submit(uint16_t opcode, const Sges& sges, uint64_t offset = 0,
                          uint64_t stream = 0, uint64_t* number = nullptr) {
    xfer_gd2fs_op op{};
    op.opcode = opcode;
    op.filepath = "/f";
    op.off = offset;
    op.sges = sges.data();
    op.nsge = static_cast<uint16_t>(sges.size());
    op.gpu_stream = stream;
    op.request = number;
    return ctx_->submit(0, op);
  }
  xfer_gd2fs_completion reap(int timeout_ms = 30'000) {
    xfer_gd2fs_completion done{};
    const auto reaped = ctx_->wait(0, {&done, 1}, timeout_ms);
    EXPECT_TRUE(reaped.has_value() && *reaped == 1);
    return done;
  }
  bool nothing_for(int timeout_ms) {
    xfer_gd2fs_completion done{};
    const auto reaped = ctx_->wait(0, {&done, 1}, timeout_ms);
    return reaped.has_value() && *reaped == 0;
  }
  xfer_gd2fs_completion run(uint16_t opcode, const Sges& sges, uint64_t offset = 0) {
    const auto accepted = submit(opcode, sges, offset);
    EXPECT_TRUE(accepted.has_value()) << accepted.error().to_string();
    return reap();
  }
  void wait_until_queued(uint64_t operations) {
    while (cuda().queued() < operations) {
      ASSERT_TRUE(nothing_for(1)) << "the request has ended before its copies were begun";
    }
  }

  RealClock clock_;
  Loop loop_{clock_, Loop::Waits::epoll};
  ThreadWorker resolver_{"test-resolve"};
  MemoryCluster cluster_{place(), place()};
  std::thread serving_;
  std::vector<std::unique_ptr<TestContext>> contexts_;
  std::vector<std::unique_ptr<TestMemory>> gpus_;
  std::vector<std::byte> host_ = std::vector<std::byte>(kGpuBytes);
  std::unique_ptr<Ctx> ctx_;
  std::vector<IomemHandle> iomems_;
  IomemHandle host_iomem_ = 0;
  Random random_{17};
};

}  // namespace gd2fs::client
