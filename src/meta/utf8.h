// UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gd2fs {

bool is_utf8(std::string_view bytes);
// code_point is valid.
void append_utf8(std::string* out, uint32_t code_point);

}  // namespace gd2fs
