#include "client/c_api.h"

using namespace gd2fs;          // NOLINT: the C border
using namespace gd2fs::client;  // NOLINT

extern "C" {

int xfer_gd2fs_cq_wait(xfer_gd2fs_ctx* ctx, xfer_gd2fs_cq* cq, xfer_gd2fs_completion* completions,
                       int maxcomp, int timeout_ms) {
  return static_cast<int>(with_ctx(ctx, [&](Ctx& open) -> Result<size_t> {
    if (completions == nullptr || maxcomp < 1 || timeout_ms < -1) {
      return fail(StatusCode::invalid, "wait: bad arguments");
    }
    return open.wait(number_of(cq), {completions, static_cast<size_t>(maxcomp)}, timeout_ms);
  }));
}

int xfer_gd2fs_wait(xfer_gd2fs_ctx* ctx, xfer_gd2fs_completion* completions, int maxcomp,
                    int timeout_ms) {
  return xfer_gd2fs_cq_wait(ctx, nullptr, completions, maxcomp, timeout_ms);
}

int xfer_gd2fs_cq_get_fd(xfer_gd2fs_ctx* ctx, xfer_gd2fs_cq* cq) {
  return static_cast<int>(with_ctx(ctx, [&](Ctx& open) { return open.queue_fd(number_of(cq)); }));
}

int xfer_gd2fs_get_fd(xfer_gd2fs_ctx* ctx) {
  return xfer_gd2fs_cq_get_fd(ctx, nullptr);
}

xfer_gd2fs_cq* xfer_gd2fs_cq_create(xfer_gd2fs_ctx* handle) {
  const KeepErrno keep;
  return guarded_pointer([&]() -> xfer_gd2fs_cq* {
    const CtxTable::Ref ctx(number_of(handle));
    Status status = ctx.status();
    if (status.ok()) {
      const Result<QueueHandle> queue = ctx->make_queue();
      if (queue.has_value()) return handle_of<xfer_gd2fs_cq>(*queue);
      status = queue.error();
    }
    fail_with(status);
    return nullptr;
  });
}

int xfer_gd2fs_cq_destroy(xfer_gd2fs_ctx* ctx, xfer_gd2fs_cq* cq) {
  return static_cast<int>(
      with_ctx(ctx, [&](Ctx& open) { return open.destroy_queue(number_of(cq)); }));
}

}  // extern "C"
