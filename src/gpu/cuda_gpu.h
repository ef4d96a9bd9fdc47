// CudaGpu: Gpu by the CUDA driver. Finds out what pointers are, keeps one CudaTarget per context
// that memory was found in, and looks for the end of copies from the loop.
//
// Contexts: memory belongs to the context that allocated it; memory of CUDA's virtual memory
// management (PyTorch's expandable segments) belongs to none and is used through the device's
// primary context. That one is retained, never made where it does not exist with others; a context
// of the application's own is used as it is.
//
// Looking: by a timer of the loop, first when the copy can have ended at best, then again in steps
// that grow with the time that it is late. A sleep ends up to 84 us late, so the loop is woken that
// much early and stays awake for the rest. No thread of ours or of the driver's takes part, and
// nothing runs while no copy is in flight. docs/decisions/020-gpu-copies.md has the reasons and the
// figures.
#pragma once

#include <array>
#include <atomic>
#include <mutex>

#include "gpu/cuda_target.h"
#include "gpu/gpu.h"
#include "loop/loop.h"

namespace gd2fs {

class CudaGpu final : public Gpu {
 public:
  static constexpr uint32_t kTargetsMax = 256;  // contexts, the lost ones too
  static constexpr uint64_t kLookMinNs = kUs;   // a look costs 0.3 us
  static constexpr uint64_t kLookMaxNs = 100 * kUs;
  static constexpr uint64_t kLateShare = 16;          // a step is a 16th of the time it is late
  static constexpr uint64_t kWakeLeadNs = 100 * kUs;  // the kernel's timer slack and the wake-up
  // Between looks so close the loop does not sleep: the copy is at most 0.4 ms late.
  static constexpr uint64_t kAwakeStepNs = 25 * kUs;

  explicit CudaGpu(Loop& loop);
  ~CudaGpu() override;

  Result<GpuMemory> find(const void* address, uint64_t length_bytes) override;
  Result<std::unique_ptr<HostMapping>> map_host(GpuTarget target, void* address,
                                                uint64_t length_bytes, Access access) override;
  void copy(GpuCopy& copy) override;
  void expect(GpuTarget target) override;
  Result<std::unique_ptr<GpuFence>> fence_after(uint64_t stream, GpuTarget target) override;
  void wait(GpuFence& fence, Completion& done) override;
  void cancel(GpuFence& fence) override;
  void drain() override;
  Result<GpuExport> export_range(const void* address, uint64_t length_bytes) override;
  Status see_nic_writes(GpuTarget target) override;
  std::string folder(GpuTarget target) override;
  std::string description() override;

 private:
  struct Attributes;
  Result<GpuTarget> target_in(const cuda::Driver& driver, cuda::Context context, int ordinal);
  Result<GpuTarget> open_target(const cuda::Driver& driver, cuda::Context context,
                                cuda::Device device, bool primary);
  GpuTarget known_target(cuda::Context context) const;
  cuda::CudaTarget& target(GpuTarget number) const;

  void on_timer(Completion&);
  void look_at_fences();
  void arm();

  Loop& loop_;
  Timer timer_;
  List<GpuFence> fences_;
  uint64_t fences_since_ns_ = 0;

  std::mutex opening_;
  std::atomic<uint32_t> target_count_{0};
  std::array<std::unique_ptr<cuda::CudaTarget>, kTargetsMax> targets_;  // number - 1
};

}  // namespace gd2fs
