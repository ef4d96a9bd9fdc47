// StagingTest: GPU memory and memory that is shared with a server, and parts of it to be offered.
#pragma once

#include <cstring>
#include <memory>
#include <vector>

#include "client/staging.h"
#include "gpu/gpu_fixture.h"

namespace gd2fs::client {

struct TestPart : StraightPart {
  bool ended = false;
  Status status;
  TestPart() { done.bind<&TestPart::on_done>(this); }
  void on_done(Completion& completion) {
    ended = true;
    status = completion.status;
  }
};

class StagingTest : public GpuFixture {
 protected:
  static constexpr uint64_t kGpuBytes = 5 << 20;
  static constexpr uint64_t kWindow = kGpuBytes + 1000;  // with 1000 bytes of host memory

  void SetUp() override {
    GD2FS_NEEDS_CUDA();
    context_ = std::make_unique<cuda::TestContext>();
    gpu_memory_ = std::make_unique<cuda::TestMemory>(context_->get(), kGpuBytes);
    target_ = gpu_.find(gpu_memory_->data(), kGpuBytes)->target;
    shared_ = std::make_shared<HostMemory>(8 << 20);
    random_.fill({shared_->data(), shared_->size()});
  }
  // [0, 1000) host, then two stretches of GPU memory in reverse order.
  std::vector<MemorySegment> segments() {
    return {{host_.data(), 1000},
            {gpu_memory_->data() + kGpuBytes / 2, kGpuBytes / 2, target_, 1},
            {gpu_memory_->data(), kGpuBytes / 2, target_, 1}};
  }
  void begin(Staging& staging, Window::Direction direction) {
    Waited ready;
    staging.begin(segments(), direction, ready.done);
    ASSERT_TRUE(run_until([&] { return ready.ended; }));
    ASSERT_TRUE(ready.status.ok()) << ready.status.to_string();
  }
  void land(Staging& staging) {
    Waited landed;
    staging.land(landed.done);
    ASSERT_TRUE(run_until([&] { return landed.ended; }));
    EXPECT_TRUE(landed.status.ok());
  }
  // What a session receives.
  static void fill_window(const Staging& staging, ConstBytes bytes) {
    for (const MemorySegment& segment : staging.window()) {
      std::memcpy(segment.data, bytes.data(), segment.length_bytes);
      bytes = bytes.subspan(segment.length_bytes);
    }
  }
  Bytes shared() { return {shared_->data(), shared_->size()}; }
  void describe(uint64_t offset, ConstBytes from, TestPart* part) {
    part->offset = offset;
    part->bytes = {const_cast<std::byte*>(from.data()), from.size()};
    part->mapping = shared();
    part->keeps = shared_;
  }
  // The first attempts only begin to pin.
  bool take(Staging& staging, TestPart& part) {
    bool taken = false;
    return run_until([&] { return taken = taken || staging.take(part); });
  }
  // Copies out of the shared memory and waits for it.
  void copy_straight(Staging& staging, uint64_t offset, ConstBytes from) {
    TestPart part;
    describe(offset, from, &part);
    ASSERT_TRUE(take(staging, part));
    ASSERT_TRUE(run_until([&] { return part.ended; }));
    ASSERT_TRUE(part.status.ok()) << part.status.to_string();
  }
  std::vector<std::byte> in_window_order() {
    std::vector<std::byte> bytes(host_.begin(), host_.begin() + 1000);
    const auto on_gpu = gpu_memory_->get();
    bytes.insert(bytes.end(), on_gpu.begin() + kGpuBytes / 2, on_gpu.end());
    bytes.insert(bytes.end(), on_gpu.begin(), on_gpu.begin() + kGpuBytes / 2);
    return bytes;
  }

  Random random_{23};
  std::vector<std::byte> host_ = std::vector<std::byte>(1000);
  std::unique_ptr<cuda::TestContext> context_;
  std::unique_ptr<cuda::TestMemory> gpu_memory_;
  std::shared_ptr<HostMemory> shared_;
  GpuTarget target_ = 0;
  MovedBytes moved_;
};

}  // namespace gd2fs::client
