// Requests on GPU memory, by way of the pinned ring: a Ctx on the fake driver (or the machine's
// own, with GD2FS_TEST_REAL_GPU=1) against a cluster in memory over TCP.
#include <algorithm>
#include <cstring>
#include <thread>

#include <sys/mman.h>

#include "base/log.h"
#include "client/ctx.h"
#include "fabric/tcp_fabric.h"
#include "gpu/test_cuda.h"
#include "sim/memory_cluster.h"

namespace gd2fs::client {
namespace {

using cuda::Current;
using cuda::TestContext;
using cuda::TestCuda;
using cuda::TestMemory;

constexpr size_t kGpuBytes = 20 << 20;
// That runs out while a copy is held, and not before it begins, however slow the machine is.
constexpr uint64_t kShortTimeoutNs = 1500 * kMs;

class CtxGpuTest : public ::testing::Test {
 protected:
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

constexpr uint16_t kRead = XFER_GD2FS_OP_READ;
constexpr uint16_t kWrite = XFER_GD2FS_OP_WRITE;

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
  EXPECT_LE(after.registered_bytes, gpus_.size() * per_gpu);
}

// What comes last is short, so that little is left to copy when all has been received: 8, 6, 3, 1,
// 1, 1 MiB; and each stripe of the 3 may go by itself.
TEST_F(CtxGpuTest, a_large_read_ends_in_short_copies) {
  GD2FS_NEEDS_FAKE_CUDA();
  EXPECT_EQ(run(kWrite, whole(0)).status, 0);
  const uint64_t before = cuda().counts().copies;
  EXPECT_EQ(run(kRead, whole(0)).status, 0);
  const uint64_t copies = cuda().counts().copies - before;
  EXPECT_GE(copies, 6u);
  EXPECT_LE(copies, 6u - 1 + (3 << 20) / MemoryCluster::kChunkBytes);
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
