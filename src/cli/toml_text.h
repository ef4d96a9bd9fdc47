// toml_text: a TOML file as it is given to the parser.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace gd2fs::cli {

// The same file in ASCII, line for line: in texts in double quotes, where TOML has escapes for it,
// a character becomes its escape; in comments a question mark. Outside of both it is an error that
// names the line, and so are bytes that are not UTF-8 and texts of several lines. What is wrong in
// another way is left to the parser, which says that better.
//
// For toml++ 3.3 must not see other characters: where a value is not well formed it asks whether
// they are white space, and comes to a place there that its compiler may take for unreachable.
Result<std::string> ascii_toml(std::string_view text, std::string_view file_name);

}  // namespace gd2fs::cli
