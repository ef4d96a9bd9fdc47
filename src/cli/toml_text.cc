#include "cli/toml_text.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>

#include "meta/utf8.h"

namespace gd2fs::cli {
namespace {

bool is_ascii(char c) {
  return static_cast<unsigned char>(c) < 0x80;
}

// Reads the file once, from the left. What it takes for a quoted text or a comment is one in every
// file that the parser accepts; of others nothing but ASCII comes out either.
class Reader {
 public:
  Reader(std::string_view text, std::string_view file_name) : text_(text), file_name_(file_name) {}

  Result<std::string> run() {
    constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
    if (text_.starts_with(kByteOrderMark)) at_ = kByteOrderMark.size();
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '#') {
        comment();
      } else if (c == '"' || c == '\'') {
        GD2FS_TRY(quoted(c));
      } else if (!is_ascii(c)) {
        return wrong("a character outside ASCII must stand in quotes");
      } else {
        copy();
      }
    }
    return std::move(out_);
  }

 private:
  std::unexpected<Status> wrong(std::string_view why) const {
    const auto line = 1 + std::count(text_.begin(), text_.begin() + static_cast<long>(at_), '\n');
    return fail(StatusCode::invalid,
                std::string(file_name_) + ":" + std::to_string(line) + ": " + std::string(why));
  }

  void copy() { out_ += text_[at_++]; }

  void comment() {
    for (; at_ < text_.size() && text_[at_] != '\n'; ++at_) {
      out_ += is_ascii(text_[at_]) ? text_[at_] : '?';
    }
  }

  // One that is not closed ends with its line: the parser stops there.
  Status quoted(char quote) {
    if (text_.substr(at_, 3) == std::string(3, quote)) {
      return wrong("texts of several lines are not taken here").error();
    }
    copy();
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (!is_ascii(c)) {
        if (quote == '\'') return wrong("this text must stand in double quotes").error();
        escape();
        continue;
      }
      copy();
      if (c == quote || c == '\n') break;
      if (c == '\\' && quote == '"' && at_ < text_.size()) {
        if (!is_ascii(text_[at_])) return wrong("no such escape").error();
        copy();
      }
    }
    return {};
  }

  // The character that begins here with its first byte of UTF-8.
  void escape() {
    size_t size = 1;
    while (at_ + size < text_.size() && (text_[at_ + size] & 0xc0) == 0x80) ++size;
    auto code_point = static_cast<uint32_t>(text_[at_] & (0x7f >> size));
    for (size_t k = 1; k < size; ++k) code_point = code_point << 6 | (text_[at_ + k] & 0x3f);
    std::array<char, 11> written{};
    std::snprintf(written.data(), written.size(), "\\U%08X", code_point);
    out_ += written.data();
    at_ += size;
  }

  std::string_view text_;  // is UTF-8
  std::string_view file_name_;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

Result<std::string> ascii_toml(std::string_view text, std::string_view file_name) {
  if (!is_utf8(text)) {
    return fail(StatusCode::invalid, std::string(file_name) + ": the file is not UTF-8");
  }
  return Reader(text, file_name).run();
}

}  // namespace gd2fs::cli
