// NoGpu: the Gpu of a process without one (simulations, servers). Every address that the CPU cannot
// use stays unusable.
#pragma once

#include "gpu/gpu.h"

namespace gd2fs {

class NoGpu final : public Gpu {
 public:
  static NoGpu& instance() {
    static NoGpu none;  // has no state
    return none;
  }
  Result<GpuMemory> find(const void*, uint64_t) override { return fail(no()); }
  Result<std::unique_ptr<HostMapping>> map_host(GpuTarget, void*, uint64_t, Access) override {
    return fail(no());
  }
  void copy(GpuCopy&) override { CHECK(false); }  // nobody has a target
  Result<std::unique_ptr<GpuFence>> fence_after(uint64_t, GpuTarget) override { return fail(no()); }
  void wait(GpuFence&, Completion&) override { CHECK(false); }
  void cancel(GpuFence&) override { CHECK(false); }
  void drain() override {}
  Result<GpuExport> export_range(const void*, uint64_t) override { return fail(no()); }
  Status see_nic_writes(GpuTarget) override { return no(); }
  std::string description() override { return "none"; }

 private:
  static Status no() { return {StatusCode::unsupported, "this process has no GPU"}; }
};

}  // namespace gd2fs
