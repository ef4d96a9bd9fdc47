// GPU memory of a client, over the fake NICs: by dmabuf, through the ring where that cannot be.
#include <cerrno>

#include "cli/rdma_deployment.h"
#include "gpu/test_cuda.h"

namespace gd2fs::cli {
namespace {

class RdmaGpuDeployment : public RdmaDeployment {
 protected:
  static constexpr size_t kSize = 6'000'001;
  explicit RdmaGpuDeployment(cuda::Device gpu = 0) : context(gpu) {}
  cuda::TestContext context;
  cuda::TestMemory device{context.get(), kSize};
  client::IomemHandle on_gpu = 0;
  std::vector<std::byte> original = std::vector<std::byte>(kSize);

  ~RdmaGpuDeployment() override { close_client(); }
  void begin(client::Require require) {
    ASSERT_NO_FATAL_FAILURE(start({"rdma://127.0.0.2:0"}));
    ASSERT_TRUE(open(require).ok());
    ASSERT_NO_FATAL_FAILURE(warm_up());
    Random random(5);
    random.fill(original);
  }
  void register_device() { on_gpu = *ctx->add_iomem(device.data(), kSize); }
  xfer_gd2fs_completion transfer_device(uint16_t opcode) {
    return transfer(opcode, 0, kSize, device.data(), on_gpu);
  }
  // What host memory wrote is read into the GPU, and back.
  void there_and_back() {
    std::ranges::copy(original, memory.begin());
    ASSERT_EQ(transfer(XFER_GD2FS_OP_WRITE, 0, kSize).status, 0);
    const auto read = transfer_device(XFER_GD2FS_OP_READ);
    ASSERT_EQ(read.status, 0);
    ASSERT_EQ(read.value, kSize);
    EXPECT_TRUE(device.get() == original);
    std::ranges::reverse(original);
    device.set(original);
    ASSERT_EQ(transfer_device(XFER_GD2FS_OP_WRITE).status, 0);
    std::ranges::fill(memory, std::byte{0});
    ASSERT_EQ(transfer(XFER_GD2FS_OP_READ, 0, kSize).status, 0);
    EXPECT_TRUE(std::equal(original.begin(), original.end(), memory.begin()));
  }
  xfer_gd2fs_counters counters() {
    xfer_gd2fs_counters out{};
    EXPECT_TRUE(ctx->counters(&out).ok());
    return out;
  }
};

TEST_F(RdmaGpuDeployment, nics_move_the_bytes_of_gpu_memory_and_nobody_copies_them) {
  GD2FS_NEEDS_FAKE_CUDA();
  ASSERT_NO_FATAL_FAILURE(begin(client::Require::gpu_direct));
  register_device();
  const auto before = fake.counts(kServer);
  const double copied = metric("gd2fs_rdma_copied_bytes_total");
  ASSERT_NO_FATAL_FAILURE(there_and_back());
  EXPECT_EQ(counters().gpu_nic_read_bytes, kSize);
  EXPECT_EQ(counters().gpu_nic_write_bytes, kSize);
  EXPECT_EQ(counters().gpu_ring_read_bytes + counters().gpu_ring_write_bytes, 0u);
  EXPECT_EQ(fake.counts(kServer).write_bytes - before.write_bytes, 2 * kSize);
  EXPECT_EQ(fake.counts(kServer).read_bytes - before.read_bytes, 2 * kSize);
  EXPECT_EQ(metric("gd2fs_rdma_copied_bytes_total"), copied);
  EXPECT_TRUE(ctx->remove_iomem(on_gpu).ok());
}

TEST_F(RdmaGpuDeployment, what_nics_wrote_is_flushed_where_the_gpu_does_not_see_it_by_itself) {
  GD2FS_NEEDS_FAKE_CUDA();
  ASSERT_NO_FATAL_FAILURE(begin(client::Require::gpu_direct));
  cuda::TestCuda::instance().set_nic_ordering(0);
  register_device();
  const auto before = cuda::TestCuda::instance().counts();
  ASSERT_NO_FATAL_FAILURE(there_and_back());
  EXPECT_GT(cuda::TestCuda::instance().counts().nic_flushes, before.nic_flushes);
  cuda::TestCuda::instance().set_nic_ordering(100);
}

TEST_F(RdmaGpuDeployment, memory_that_nics_do_not_take_goes_through_the_ring) {
  GD2FS_NEEDS_FAKE_CUDA();
  ASSERT_NO_FATAL_FAILURE(begin(client::Require::none));
  fake.refuse_registrations(1, EOPNOTSUPP);
  register_device();
  ASSERT_NO_FATAL_FAILURE(there_and_back());
  EXPECT_EQ(counters().gpu_nic_read_bytes + counters().gpu_nic_write_bytes, 0u);
  EXPECT_EQ(counters().gpu_ring_read_bytes, kSize);
  EXPECT_EQ(counters().gpu_ring_write_bytes, kSize);
}

TEST_F(RdmaGpuDeployment, gpu_direct_fails_where_nics_do_not_take_the_memory) {
  GD2FS_NEEDS_FAKE_CUDA();
  ASSERT_NO_FATAL_FAILURE(begin(client::Require::gpu_direct));
  fake.refuse_registrations(1, EOPNOTSUPP);
  register_device();
  const auto read = transfer_device(XFER_GD2FS_OP_READ);
  EXPECT_NE(read.status, 0);
  EXPECT_EQ(XFER_GD2FS_STATUS_CODE(read.status), EOPNOTSUPP);
}

TEST_F(RdmaGpuDeployment, holes_are_zeros_on_the_gpu_too) {
  GD2FS_NEEDS_FAKE_CUDA();
  ASSERT_NO_FATAL_FAILURE(begin(client::Require::none));
  register_device();
  // Its first block alone is written, in a file that warm_up() has made longer.
  xfer_gd2fs_op cut{};
  cut.opcode = XFER_GD2FS_OP_TRUNCATE;
  cut.filepath = "/f";
  for (const uint64_t size : {uint64_t{65536}, uint64_t{16} << 20}) {
    cut.size = size;
    ASSERT_TRUE(ctx->submit(0, cut).has_value());
    xfer_gd2fs_completion done{};
    ASSERT_EQ(*ctx->wait(0, {&done, 1}, 30'000), 1u);
    ASSERT_EQ(done.status, 0);
  }
  std::ranges::copy(original, memory.begin());
  ASSERT_EQ(transfer(XFER_GD2FS_OP_WRITE, 0, 65536).status, 0);
  device.set(std::vector<std::byte>(kSize, std::byte{0xEE}));
  ASSERT_EQ(transfer_device(XFER_GD2FS_OP_READ).status, 0);
  std::ranges::fill(original.begin() + 65536, original.end(), std::byte{0});
  EXPECT_TRUE(device.get() == original);
}

// What is learnt of a NIC and a GPU holds for the process, so these have pairs of their own.
class RdmaGpuReach : public RdmaGpuDeployment {
 protected:
  RdmaGpuReach() : RdmaGpuDeployment(1) {}
};

TEST_F(RdmaGpuReach, bytes_take_the_nic_that_reaches_the_gpu) {
  GD2FS_NEEDS_FAKE_CUDA();
  client_hosts = {"127.0.0.1", "127.0.0.3"};
  fake.keep_from_gpus(0, 1);
  const uint64_t before[] = {fake.counts(0).gpu_bytes, fake.counts(2).gpu_bytes};
  ASSERT_NO_FATAL_FAILURE(begin(client::Require::none));
  register_device();
  ASSERT_NO_FATAL_FAILURE(there_and_back());
  EXPECT_EQ(counters().gpu_nic_read_bytes, kSize);
  EXPECT_EQ(counters().gpu_nic_write_bytes, kSize);
  EXPECT_EQ(counters().gpu_ring_read_bytes + counters().gpu_ring_write_bytes, 0u);
  EXPECT_EQ(fake.counts(0).gpu_bytes, before[0]);
  // And those by which it was found out that this one reaches it.
  EXPECT_GE(fake.counts(2).gpu_bytes - before[1], 2 * kSize);
}

TEST_F(RdmaGpuReach, what_must_go_by_nic_waits_for_the_rail_that_reaches_the_gpu) {
  GD2FS_NEEDS_FAKE_CUDA();
  constexpr int kNear = 2;
  client_hosts = {"127.0.0.1", "127.0.0.3"};
  fake.keep_from_gpus(0, 1);
  ASSERT_NO_FATAL_FAILURE(begin(client::Require::gpu_direct));
  register_device();
  ASSERT_NO_FATAL_FAILURE(there_and_back());
  fake.set_port(kNear, 0);
  const xfer_gd2fs_sge sge{device.data(), kSize, reinterpret_cast<xfer_gd2fs_iomem*>(on_gpu)};
  xfer_gd2fs_op read{};
  read.opcode = XFER_GD2FS_OP_READ;
  read.filepath = "/f";
  read.sges = &sge;
  read.nsge = 1;
  ASSERT_TRUE(ctx->submit(0, read).has_value());
  xfer_gd2fs_completion done{};
  EXPECT_EQ(*ctx->wait(0, {&done, 1}, 300), 0u) << done.status;
  fake.set_port(kNear, 1);
  ASSERT_EQ(*ctx->wait(0, {&done, 1}, 30'000), 1u);
  EXPECT_EQ(done.status, 0);
  EXPECT_EQ(counters().gpu_nic_read_bytes, 2 * kSize);
}

TEST_F(RdmaGpuReach, a_nic_that_fails_in_the_middle_is_passed_over_from_then_on) {
  GD2FS_NEEDS_FAKE_CUDA();
  constexpr int kNic = 3;
  client_hosts = {"127.0.0.4"};
  ASSERT_NO_FATAL_FAILURE(begin(client::Require::none));
  register_device();
  ASSERT_NO_FATAL_FAILURE(there_and_back());
  EXPECT_EQ(counters().gpu_nic_read_bytes, kSize);
  fake.keep_from_gpus(kNic, 1);
  ASSERT_NO_FATAL_FAILURE(there_and_back());
  EXPECT_EQ(counters().gpu_nic_read_bytes, kSize);
  EXPECT_EQ(counters().gpu_ring_read_bytes, kSize);
  EXPECT_EQ(counters().gpu_ring_write_bytes, kSize);
  // It would work again, and is not tried: that pair is known not to.
  fake.keep_from_gpus(kNic, 0);
  const uint64_t before = fake.counts(kNic).gpu_bytes;
  ASSERT_NO_FATAL_FAILURE(there_and_back());
  EXPECT_EQ(fake.counts(kNic).gpu_bytes, before);
  EXPECT_EQ(counters().gpu_ring_read_bytes, 2 * kSize);
}

}  // namespace
}  // namespace gd2fs::cli
