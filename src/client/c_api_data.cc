#include "client/c_api.h"
#include "client/view_table.h"

using namespace gd2fs;          // NOLINT: the C border
using namespace gd2fs::client;  // NOLINT

namespace {

ssize_t submit_data(xfer_gd2fs_ctx* ctx, uint16_t opcode, void* id, const char* filepath,
                    uint64_t off, const xfer_gd2fs_sge* sges, uint16_t nsge, uint16_t flags) {
  xfer_gd2fs_op op{};
  op.opcode = opcode;
  op.flags = flags;
  op.nsge = nsge;
  op.id = id;
  op.filepath = filepath;
  op.off = off;
  op.sges = sges;
  return with_ctx(ctx, [&](Ctx& open) { return open.submit(0, op); });
}

}  // namespace

extern "C" {

ssize_t xfer_gd2fs_preadv(xfer_gd2fs_ctx* ctx, void* id, const char* filepath, uint64_t off,
                          const xfer_gd2fs_sge* sges, uint16_t nsge, uint16_t flags) {
  return submit_data(ctx, XFER_GD2FS_OP_READ, id, filepath, off, sges, nsge, flags);
}

ssize_t xfer_gd2fs_pwritev(xfer_gd2fs_ctx* ctx, void* id, const char* filepath, uint64_t off,
                           const xfer_gd2fs_sge* sges, uint16_t nsge, uint16_t flags) {
  return submit_data(ctx, XFER_GD2FS_OP_WRITE, id, filepath, off, sges, nsge, flags);
}

ssize_t xfer_gd2fs_view_get(xfer_gd2fs_ctx* ctx, void* id, const char* filepath, uint64_t off,
                            const xfer_gd2fs_sge* sge, xfer_gd2fs_view* view) {
  xfer_gd2fs_op op{};
  op.opcode = XFER_GD2FS_OP_VIEW;
  op.nsge = 1;
  op.id = id;
  op.filepath = filepath;
  op.off = off;
  op.sges = sge;
  op.view = view;
  return with_ctx(ctx, [&](Ctx& open) { return open.submit(0, op); });
}

int xfer_gd2fs_view_put(xfer_gd2fs_view* view) {
  const KeepErrno keep;
  return guarded([&] {
    if (view == nullptr) return fail_with(Status(StatusCode::invalid, "no view", EINVAL));
    const Status put = view->zero_copy == 0 ? Status() : ViewTable::instance().put(view->number);
    return put.ok() ? 0 : fail_with(put);
  });
}

ssize_t xfer_gd2fs_submit(xfer_gd2fs_ctx* ctx, xfer_gd2fs_cq* cq, const xfer_gd2fs_op* op) {
  return with_ctx(ctx, [&](Ctx& open) -> Result<uint64_t> {
    if (op == nullptr) return fail(StatusCode::invalid, "no operation");
    return open.submit(number_of(cq), *op);
  });
}

int xfer_gd2fs_cancel(xfer_gd2fs_ctx* ctx, uint64_t request) {
  return static_cast<int>(with_ctx(ctx, [&](Ctx& open) { return open.cancel(request); }));
}

}  // extern "C"
