#include "cli/toml_text.h"

#include <algorithm>
#include <string>

#include "meta/utf8.h"

namespace gd2fs::cli {
namespace {

// The end of the quoted text that begins at `at`, of one line. One that is not closed ends with its
// line: the parser stops there.
size_t skip_quoted(std::string_view text, size_t at) {
  const char quote = text[at];
  for (++at; at < text.size(); ++at) {
    if (text[at] == '\\' && quote == '"') {
      ++at;
    } else if (text[at] == quote || text[at] == '\n') {
      return at + 1;
    }
  }
  return text.size();
}

// Whether a quote at `at` begins a text, and is not part of a word: the parser takes 0"x for one,
// and
// +["x and 1."x too.
bool begins_text(std::string_view text, size_t at) {
  while (at > 0 && std::string_view("[{.").find(text[at - 1]) != std::string_view::npos) --at;
  constexpr std::string_view kBefore = " \t\r\n=,\xBF";  // the last of a byte order mark
  return at == 0 || kBefore.find(text[at - 1]) != std::string_view::npos;
}

}  // namespace

Status check_toml_ascii(std::string_view text, std::string_view file_name) {
  const auto wrong = [&](size_t at, std::string_view why) {
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<long>(at), '\n');
    return Status(StatusCode::invalid,
                  std::string(file_name) + ":" + std::to_string(line) + ": " + std::string(why));
  };
  // Of other bytes the parser makes any character.
  if (!is_utf8(text)) {
    return {StatusCode::invalid, std::string(file_name) + ": the file is not UTF-8"};
  }
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  size_t at = text.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '#') {
      at = std::min(text.find('\n', at), text.size());
    } else if (c == '"' || c == '\'') {
      if (!begins_text(text, at)) return wrong(at, "a quote in the middle of a word");
      // Behind a backslash in one of these the parser looks for white space.
      if (text.substr(at, 3) == std::string(3, c)) {
        return wrong(at, "texts of several lines are not taken here");
      }
      at = std::min(skip_quoted(text, at), text.size());
    } else if (static_cast<unsigned char>(c) >= 0x80) {
      return wrong(at, "a character outside ASCII must stand in quotes");
    } else {
      ++at;
    }
  }
  return {};
}

}  // namespace gd2fs::cli
