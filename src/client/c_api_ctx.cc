#include "client/c_api.h"

using namespace gd2fs;          // NOLINT: the C border
using namespace gd2fs::client;  // NOLINT

namespace {

Result<uint64_t> connect_ctx(const xfer_gd2fs_options* options) {
  RawOptions raw;
  if (options != nullptr) {
    raw.cp_address = options->cp_address;
    raw.dp_address = options->dp_address;
    raw.cluster_id = options->cluster_id;
    raw.iothread_count = options->iothread_count;
    raw.memthread_count = options->memthread_count;
    raw.conn_stream_count = options->conn_stream_count;
    raw.timeout_ms = options->timeout;
    raw.log_level = options->log_level;
    for (const uint64_t word : options->reserved) {
      if (word != 0) return fail(StatusCode::invalid, "options.reserved is not zero");
    }
  }
  CtxTable& table = CtxTable::instance();
  GD2FS_ASSIGN(auto ctx, Ctx::open(raw));
  return table.add(std::move(ctx));
}

}  // namespace

extern "C" {

xfer_gd2fs_ctx* xfer_gd2fs_connect(const xfer_gd2fs_options* options) {
  const KeepErrno keep;
  return guarded_pointer([&]() -> xfer_gd2fs_ctx* {
    const Result<uint64_t> ctx = connect_ctx(options);
    if (ctx.has_value()) return handle_of<xfer_gd2fs_ctx>(*ctx);
    fail_with(ctx.error());
    return nullptr;
  });
}

int xfer_gd2fs_close(xfer_gd2fs_ctx* ctx) {
  const KeepErrno keep;
  return guarded([&]() -> int {
    const Status status = CtxTable::instance().close(number_of(ctx));
    return status.ok() ? 0 : fail_with(status);
  });
}

int xfer_gd2fs_get_counters(xfer_gd2fs_ctx* ctx, xfer_gd2fs_counters* counters) {
  return static_cast<int>(with_ctx(ctx, [&](Ctx& open) -> Status {
    if (counters == nullptr) return {StatusCode::invalid, "no place for the answer", EINVAL};
    return open.counters(counters);
  }));
}

const char* xfer_gd2fs_last_error(void) {
  return last_error();
}

const char* xfer_gd2fs_version(void) {
  return GD2FS_VERSION;
}

}  // extern "C"
