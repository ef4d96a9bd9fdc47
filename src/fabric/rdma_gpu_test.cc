// GPU memory as a window over RDMA: exported as a dmabuf by the (fake) driver, registered with the
// (fake) NICs, and never touched by the CPU, which would be a fault.
#include <cerrno>

#include "base/descriptor.h"
#include "fabric/rdma_world.h"
#include "gpu/cuda_gpu.h"
#include "gpu/test_cuda.h"

namespace gd2fs {
namespace {

class RdmaGpu : public RdmaWorld {
 protected:
  static constexpr size_t kSize = 3'000'000;
  cuda::TestContext context;
  cuda::TestMemory device{context.get(), kSize};
  CudaGpu gpu{loop};
  FabricMemory memory;
  std::string gpu_name;  // what is learnt of it holds for the process: each test has its own
  MemorySegment segment() { return {device.data(), kSize, 1, 5}; }

  Status register_device() {
    GD2FS_ASSIGN(const GpuExport exported, gpu.export_range(device.data(), kSize));
    const Descriptor dmabuf(exported.fd);
    memory.address = device.data();
    memory.length_bytes = kSize;
    memory.region = 5;
    memory.for_peers = true;
    memory.dmabuf = exported.fd;
    memory.dmabuf_offset = exported.offset_bytes;
    memory.gpu = gpu_name;
    return fabric.add_memory(memory);
  }
  void place(Window& window, Window::Direction direction) {
    window.direction = direction;
    window.segments = {segment()};
    window.request_id = client.session->next_request_id();
    client.session->expose(window);
  }
  uint64_t ask(Window& window, Window::Direction direction) {
    place(window, direction);
    EXPECT_TRUE(client.session->send(kType, window.request_id, {}, &window).ok());
    const size_t before = server().messages.size();
    EXPECT_TRUE(until([&] { return server().messages.size() > before; }));
    return window.request_id;
  }
};

TEST_F(RdmaGpu, bytes_go_straight_into_and_out_of_registered_gpu_memory) {
  GD2FS_NEEDS_FAKE_CUDA();
  ASSERT_NO_FATAL_FAILURE(join());
  const Status registered = register_device();
  ASSERT_TRUE(registered.ok()) << registered.to_string();
  auto from = random_bytes(random, kSize);
  std::vector<std::byte> into(kSize);
  const Registered source(fabric, from, false);
  const Registered target(fabric, into, false);
  Window window;
  const uint64_t id = ask(window, Window::Direction::sink);
  PushFlag push(id, 0, from);
  server().session->push(push);
  ASSERT_TRUE(server().session->reply(kType, id, {}).ok());
  ASSERT_TRUE(until([&] { return client.replies.size() == 1; }));
  EXPECT_TRUE(device.get() == from);
  give_back(window);
  Window back;
  const uint64_t pull_id = ask(back, Window::Direction::source);
  PullFlag pull(pull_id, 0, into);
  server().session->pull(pull);
  ASSERT_TRUE(until([&] { return pull.finished; }));
  EXPECT_TRUE(pull.status.ok()) << pull.status.to_string();
  EXPECT_TRUE(into == from);
  EXPECT_EQ(fabric.counters().copied_bytes, 0u);
  give_back(back);
  fabric.remove_memory(memory);
}

TEST_F(RdmaGpu, without_keys_on_either_side_it_is_an_error_and_never_a_copy) {
  GD2FS_NEEDS_FAKE_CUDA();
  ASSERT_NO_FATAL_FAILURE(join());
  fake.refuse_registrations(2, EOPNOTSUPP);
  EXPECT_TRUE(register_device().is(StatusCode::unsupported));
  Window refused;
  place(refused, Window::Direction::sink);
  EXPECT_TRUE(
      client.session->send(kType, refused.request_id, {}, &refused).is(StatusCode::unsupported));
  give_back(refused);
  fabric.remove_memory(memory);
  ASSERT_TRUE(register_device().ok());
  const auto from = random_bytes(random, kSize);  // the server's NIC does not know it
  Window window;
  const uint64_t id = ask(window, Window::Direction::sink);
  PushFlag push(id, 0, from);
  server().session->push(push);
  ASSERT_TRUE(until([&] { return push.finished; }));
  EXPECT_TRUE(push.status.is(StatusCode::unavailable)) << push.status.to_string();
  EXPECT_TRUE(client.session->open());
  give_back(window);
  fabric.remove_memory(memory);
}

TEST_F(RdmaGpu, a_nic_that_cannot_reach_what_it_registered_is_found_out_and_remembered) {
  GD2FS_NEEDS_FAKE_CUDA();
  ASSERT_NO_FATAL_FAILURE(join());
  gpu_name = "a GPU behind ACS";
  fake.keep_from_gpus(kClient, 1);
  const Status refused = register_device();
  EXPECT_TRUE(refused.is(StatusCode::unsupported)) << refused.to_string();
  EXPECT_NE(refused.text().find("fake0 port 1 does not reach a GPU behind ACS"),
            std::string_view::npos)
      << refused.text();
  EXPECT_FALSE(client.session->distance_to(segment()));
  Window window;
  place(window, Window::Direction::sink);
  EXPECT_TRUE(
      client.session->send(kType, window.request_id, {}, &window).is(StatusCode::unsupported));
  give_back(window);
  EXPECT_TRUE(fabric.nics_reach(segment()));  // the other one
  fabric.remove_memory(memory);
  // Not tried again.
  fake.keep_from_gpus(kClient, 0);
  EXPECT_TRUE(register_device().is(StatusCode::unsupported));
  fabric.remove_memory(memory);
  gpu_name = "another GPU";
  EXPECT_TRUE(register_device().ok());
  EXPECT_TRUE(client.session->distance_to(segment()));
  fabric.remove_memory(memory);
}

TEST_F(RdmaGpu, a_nic_that_reaches_a_gpu_no_longer_loses_its_keys_once_that_is_doubted) {
  GD2FS_NEEDS_FAKE_CUDA();
  ASSERT_NO_FATAL_FAILURE(join());
  gpu_name = "a GPU that falls off the bus";
  ASSERT_TRUE(register_device().ok());
  fabric.doubt_reach(segment());
  run_for_ns(50 * kMs);
  EXPECT_TRUE(client.session->distance_to(segment()));  // for nothing
  fake.keep_from_gpus(kClient, 1);
  fabric.doubt_reach(segment());
  EXPECT_TRUE(until([&] { return !client.session->distance_to(segment()); }));
  EXPECT_TRUE(client.session->open());
  fabric.remove_memory(memory);
}

}  // namespace
}  // namespace gd2fs
