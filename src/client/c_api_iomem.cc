#include "client/c_api.h"

using namespace gd2fs;          // NOLINT: the C border
using namespace gd2fs::client;  // NOLINT

namespace {

Status check_options(const xfer_gd2fs_iomem_options* options) {
  if (options == nullptr) return {};
  uint64_t any = options->flags | options->reserved0;
  for (const uint64_t word : options->reserved) any |= word;
  return any == 0 ? Status() : Status(StatusCode::invalid, "unknown iomem flags");
}

}  // namespace

extern "C" {

xfer_gd2fs_iomem* xfer_gd2fs_reg_iomem(xfer_gd2fs_ctx* handle, void* addr, size_t length,
                                       const xfer_gd2fs_iomem_options* options) {
  const KeepErrno keep;
  return guarded_pointer([&]() -> xfer_gd2fs_iomem* {
    const CtxTable::Ref ctx(number_of(handle));
    Status status = ctx.status();
    if (status.ok()) status = check_options(options);
    if (status.ok()) {
      const Result<IomemHandle> iomem = ctx->add_iomem(addr, length);
      if (iomem.has_value()) return handle_of<xfer_gd2fs_iomem>(*iomem);
      status = iomem.error();
    }
    fail_with(status);
    return nullptr;
  });
}

int xfer_gd2fs_dereg_iomem(xfer_gd2fs_ctx* ctx, xfer_gd2fs_iomem* iomem) {
  return static_cast<int>(
      with_ctx(ctx, [&](Ctx& open) { return open.remove_iomem(number_of(iomem)); }));
}

int xfer_gd2fs_iomem_device(xfer_gd2fs_ctx* ctx, xfer_gd2fs_iomem* iomem, int32_t* device) {
  return static_cast<int>(with_ctx(ctx, [&](Ctx& open) -> Status {
    if (device == nullptr) return {StatusCode::invalid, "no place for the answer", EINVAL};
    return open.iomem_device(number_of(iomem), device);
  }));
}

}  // extern "C"
