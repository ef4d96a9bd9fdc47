// CHECK: what can never be false unless our own code is wrong.
//
// Bytes from the wire, a disk or a user never reach a CHECK; they are parsed and refused. What a
// failed CHECK does is the process's choice, made once at start: a server aborts (the default); in
// libgd2fs the handler throws CheckFailure, which the C border and the loop's top catch to poison
// the ctx, because a library never kills its host.
#pragma once

#include <string>

namespace gd2fs {

struct CheckFailure {
  std::string where;  // "src/x.cc:12: condition"
};

// Called with "file:line: condition"; must not return.
using CheckHandler = void (*)(const char* file, int line, const char* condition);
void set_check_handler(CheckHandler handler);  // before threads start
[[noreturn]] void check_abort(const char* file, int line, const char* condition);
[[noreturn]] void check_throw(const char* file, int line, const char* condition);
[[noreturn]] void check_failed(const char* file, int line, const char* condition);

}  // namespace gd2fs

#define CHECK(condition)                                     \
  do {                                                       \
    if (!(condition)) [[unlikely]]                           \
      ::gd2fs::check_failed(__FILE__, __LINE__, #condition); \
  } while (0)
