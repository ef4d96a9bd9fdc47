// What a ctx has moved, and by which way.
#include "client/ctx.h"

namespace gd2fs::client {

Status Ctx::counters(xfer_gd2fs_counters* out) {
  WaitFlag told(*thread_);
  const bool posted = thread_->submit([&] {
    const MovedBytes& moved = client_->moved();
    *out = {};
    out->host_read_bytes = moved.host_read_bytes;
    out->host_write_bytes = moved.host_write_bytes;
    out->gpu_straight_read_bytes = moved.gpu_straight_read_bytes;
    out->gpu_straight_write_bytes = moved.gpu_straight_write_bytes;
    out->gpu_ring_read_bytes = moved.gpu_ring_read_bytes;
    out->gpu_ring_write_bytes = moved.gpu_ring_write_bytes;
    out->gpu_nic_read_bytes = moved.gpu_nic_read_bytes;
    out->gpu_nic_write_bytes = moved.gpu_nic_write_bytes;
    out->gpu_ring_pinned_bytes = client_->rings().pinned_bytes();
    out->gpu_shared_pinned_bytes = client_->rings().straight().pins().pinned_bytes();
    told.set();
  });
  if (!posted) return cannot_run();
  if (thread_->drive_until(told, UINT64_MAX) != LoopThread::Woken::flag) return cannot_run();
  return {};
}

}  // namespace gd2fs::client
