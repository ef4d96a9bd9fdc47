// GpuFixture: a CudaGpu on a loop that the test turns, over the fake driver or the machine's own.
#pragma once

#include <sys/mman.h>

#include "gpu/cuda_gpu.h"
#include "gpu/test_cuda.h"

namespace gd2fs {

// Host memory that a test maps for its copies.
class HostMemory {
 public:
  explicit HostMemory(size_t length) : length_(length) {
    void* memory =
        mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(memory, MAP_FAILED);
    data_ = static_cast<std::byte*>(memory);
  }
  ~HostMemory() { munmap(data_, length_); }
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;
  std::byte* data() const { return data_; }
  size_t size() const { return length_; }

 private:
  size_t length_;
  std::byte* data_ = nullptr;
};

struct Waited {
  bool ended = false;
  Status status;
  Completion done;
  Waited() { done.bind<&Waited::on_done>(this); }
  void on_done(Completion& completion) {
    ended = true;
    status = completion.status;
  }
};

struct TestCopy : GpuCopy {
  bool ended = false;
  TestCopy(Direction way, GpuTarget to) {
    direction = way;
    target = to;
    done.bind<&TestCopy::on_done>(this);
  }
  void on_done(Completion&) { ended = true; }
  const Status& status() const { return done.status; }
};

class GpuFixture : public ::testing::Test {
 protected:
  cuda::TestCuda& cuda() { return cuda::TestCuda::instance(); }
  template <class Until>
  bool run_until(Until until, uint64_t limit_ns = 20 * kSecond) {
    Loop::Drive drive = loop_.try_drive();
    const uint64_t end_ns = loop_.now_ns() + limit_ns;
    while (!until() && loop_.now_ns() < end_ns) loop_.turn(kMs, 50 * kUs);
    return until();
  }
  void run_for(uint64_t time_ns) {
    const uint64_t end_ns = loop_.now_ns() + time_ns;
    (void)run_until([&] { return loop_.now_ns() >= end_ns; }, 2 * time_ns);
  }
  Status run(TestCopy& copy) {
    gpu_.copy(copy);
    EXPECT_TRUE(run_until([&] { return copy.ended; }));
    return copy.status();
  }

  RealClock clock_;
  Loop loop_{clock_, Loop::Waits::epoll};
  CudaGpu gpu_{loop_};
};

}  // namespace gd2fs
