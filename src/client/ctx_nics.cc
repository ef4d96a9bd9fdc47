// A ctx's NICs: which there are, and what memory they are told of.
#include <unistd.h>

#include "base/log.h"
#include "client/ctx.h"

namespace gd2fs::client {

// The NICs that the caller named, before memory is registered. Without them the path is TCP, which
// is said, or an error where RDMA is required.
Status Ctx::open_nics() {
  for (LocalAddress& local : options_.locals) {
    if (local.transport != Transport::rdma) continue;
    const Status opened = run_on_loop([&] { return fabric_->open_nic(local.host); });
    if (opened.ok()) {
      has_nics_ = true;
      continue;
    }
    const std::string name = "rdma://" + (local.host.empty() ? "127.0.0.1" : local.host);
    if (options_.require == Require::rdma) return opened.with(name);
    GD2FS_LOG_WARN("{}: {}; using tcp", name, opened.to_string());
    local.transport = Transport::tcp;
  }
  return {};
}

// What a NIC cannot use is copied on its way, and that is said once.
void Ctx::register_with_nics(IomemHandle iomem, void* address, size_t length_bytes) {
  if (!iomems_.pin(iomem, address, length_bytes)) return;
  const GpuTarget target = iomems_.target_of(iomem);
  iomems_.unpin(iomem);
  FabricMemory memory;
  memory.address = address;
  memory.length_bytes = length_bytes;
  memory.region = region_of(iomem);
  memory.for_peers = true;
  const Status added =
      target == kHostTarget ? fabric_->add_memory(memory) : register_gpu_with_nics(target, memory);
  if (target != kHostTarget && !said_gpu_.exchange(true)) {
    const MemorySegment segment{static_cast<std::byte*>(address), length_bytes, target,
                                memory.region};
    if (added.ok()) {
      GD2FS_LOG_INFO("NICs reach GPU memory by themselves");
    } else if (fabric_->nics_reach(segment)) {
      GD2FS_LOG_WARN("not every NIC reaches GPU memory: {}", added.to_string());
    } else {
      GD2FS_LOG_WARN("GPU memory goes by way of pinned host memory: {}", added.to_string());
    }
  }
  if (added.ok() || target != kHostTarget || said_copied_.exchange(true)) return;
  GD2FS_LOG_WARN("{} bytes are copied instead of moved by RDMA: {}", length_bytes,
                 added.to_string());
}

// By a dmabuf of the range; or, where driver or kernel have none, as host memory is, which
// nvidia-peermem makes possible.
Status Ctx::register_gpu_with_nics(GpuTarget target, FabricMemory memory) {
  GD2FS_TRY(gpu_->see_nic_writes(target));
  memory.gpu = gpu_->folder(target);
  const Result<GpuExport> exported = gpu_->export_range(memory.address, memory.length_bytes);
  if (!exported.has_value()) {
    if (::access("/sys/module/nvidia_peermem", F_OK) != 0) {
      return exported.error().with("no dmabuf, and nvidia_peermem is not loaded");
    }
    return fabric_->add_memory(memory);
  }
  const Descriptor dmabuf(exported->fd);
  memory.dmabuf = exported->fd;
  memory.dmabuf_offset = exported->offset_bytes;
  return fabric_->add_memory(memory);
}

}  // namespace gd2fs::client
