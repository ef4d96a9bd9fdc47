#include "client/last_error.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "base/check.h"

namespace gd2fs::client {
namespace {

constexpr size_t kTextMaxBytes = 512;
thread_local char g_text[kTextMaxBytes];

}  // namespace

int fail_with(const Status& status) {
  const int saved_errno = errno;  // which callers never see touched
  const std::string text = status.to_string();
  const size_t length = std::min(text.size(), kTextMaxBytes - 1);
  std::memcpy(g_text, text.data(), length);
  g_text[length] = '\0';
  errno = saved_errno;
  return -status.errno_value();
}

const char* last_error() {
  return g_text;
}

int guard_exception() {
  try {
    throw;
  } catch (const CheckFailure& failure) {
    return fail_with(Status(StatusCode::io, failure.where, EIO));
  } catch (const std::bad_alloc&) {
    return fail_with(Status(StatusCode::busy, "out of memory", ENOMEM));
  } catch (...) {
    return fail_with(Status(StatusCode::io, "unexpected exception", EIO));
  }
}

}  // namespace gd2fs::client
