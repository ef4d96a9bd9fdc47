// The C border: how the c_api_*.cc files turn handles into objects and results into errnos. No
// logic lives here or there.
#pragma once

#include <cerrno>

#include <xfer/gd2fs.h>

#include "client/ctx_table.h"
#include "client/last_error.h"

namespace gd2fs::client {

template <class Handle>
uint64_t number_of(Handle* handle) {
  return reinterpret_cast<uint64_t>(handle);
}
template <class Handle>
Handle* handle_of(uint64_t number) {
  return reinterpret_cast<Handle*>(number);  // NOLINT(performance-no-int-to-ptr): opaque
}

// errno belongs to the caller: whatever system calls we make, it leaves as it came.
class KeepErrno {
 public:
  KeepErrno() : errno_(errno) {}
  ~KeepErrno() { errno = errno_; }
  KeepErrno(const KeepErrno&) = delete;
  KeepErrno& operator=(const KeepErrno&) = delete;

 private:
  int errno_;
};

// Calls `use(ctx)`, which answers a Status or Result of a number, on an open ctx.
template <class Use>
auto with_ctx(xfer_gd2fs_ctx* handle, Use use) {
  const KeepErrno keep;
  return guarded([&]() -> ssize_t {
    const CtxTable::Ref ctx(number_of(handle));
    if (!ctx.status().ok()) return fail_with(ctx.status());
    auto result = use(*ctx.operator->());
    if constexpr (std::is_same_v<decltype(result), Status>) {
      return result.ok() ? 0 : fail_with(result);
    } else {
      return result.has_value() ? static_cast<ssize_t>(*result) : fail_with(result.error());
    }
  });
}

}  // namespace gd2fs::client
