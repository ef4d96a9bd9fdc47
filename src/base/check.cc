#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace gd2fs {
namespace {
CheckHandler g_handler = check_abort;
}

void set_check_handler(CheckHandler handler) {
  g_handler = handler;
}

void check_abort(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: CHECK failed: %s\n", file, line, condition);
  std::abort();
}

void check_throw(const char* file, int line, const char* condition) {
  throw CheckFailure{std::string(file) + ":" + std::to_string(line) + ": " + condition};
}

void check_failed(const char* file, int line, const char* condition) {
  g_handler(file, line, condition);
  std::abort();
}

}  // namespace gd2fs
