// toml_text: what a TOML file may look like before it is given to a parser.
#pragma once

#include <string_view>

#include "base/status.h"

namespace gd2fs::cli {

// TOML has bytes from 0x80 on in quoted texts and in comments only. toml++ 3.3 does not refuse them
// elsewhere: it asks whether they are white space, and comes to a place there that its compiler may
// take for unreachable. So they are refused here, and all that makes it ask in quoted texts: those
// of several lines, and bytes that are not UTF-8. Ok for anything that is wrong in another way: the
// parser says that better.
Status check_toml_ascii(std::string_view text, std::string_view file_name);

}  // namespace gd2fs::cli
