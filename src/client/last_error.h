// LastError: why this thread's last failing call failed, for xfer_gd2fs_last_error(). A plain
// thread-local array, so that threads end without a destructor of ours.
#pragma once

#include "base/status.h"

namespace gd2fs::client {

// Remembers the failure and answers -errno.
int fail_with(const Status& status);
const char* last_error();

// Runs `call`, which answers a negative errno on failure, and keeps exceptions from the caller.
int guard_exception();
template <class Call>
auto guarded(Call call) -> decltype(call()) {
  try {
    return call();
  } catch (...) {
    return guard_exception();
  }
}
// The same for calls that answer a pointer.
template <class Call>
auto guarded_pointer(Call call) -> decltype(call()) {
  try {
    return call();
  } catch (...) {
    guard_exception();
    return nullptr;
  }
}

}  // namespace gd2fs::client
