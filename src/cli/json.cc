#include "cli/json.h"

#include <cmath>
#include <cstdio>

namespace gd2fs::cli {
namespace {

// The length of the well-formed UTF-8 sequence at the front, 0 if there is none.
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const auto follows = [&](size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return follows(1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    const bool overlong = lead == 0xE0 && byte(1) < 0xA0;
    const bool surrogate = lead == 0xED && byte(1) >= 0xA0;
    return follows(1) && follows(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    const bool overlong = lead == 0xF0 && byte(1) < 0x90;
    const bool too_high = lead == 0xF4 && byte(1) >= 0x90;
    return follows(1) && follows(2) && follows(3) && !overlong && !too_high ? 4 : 0;
  }
  return 0;
}

}  // namespace

std::string json_quoted(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const char c = text.front();
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
      text.remove_prefix(1);
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
      out += escape;
      text.remove_prefix(1);
    } else if (const size_t length = utf8_length(text); length > 0) {
      out += text.substr(0, length);
      text.remove_prefix(length);
    } else {
      out += "\xEF\xBF\xBD";
      text.remove_prefix(1);
    }
  }
  return out + "\"";
}

void JsonWriter::separate() {
  if (!after_key_ && !first_) text_ += ",";
  first_ = false;
  after_key_ = false;
}

void JsonWriter::open(char bracket) {
  separate();
  text_ += bracket;
  first_ = true;
}

void JsonWriter::close(char bracket) {
  text_ += bracket;
  first_ = false;
  after_key_ = false;
}

void JsonWriter::key(std::string_view name) {
  separate();
  text_ += json_quoted(name) + ":";
  after_key_ = true;
}

void JsonWriter::string(std::string_view value) {
  separate();
  text_ += json_quoted(value);
}

void JsonWriter::number(uint64_t value) {
  separate();
  text_ += std::to_string(value);
}

void JsonWriter::real(double value) {
  separate();
  if (!std::isfinite(value)) {
    text_ += "null";
    return;
  }
  char digits[40];
  std::snprintf(digits, sizeof digits, "%.9g", value);
  text_ += digits;
}

void JsonWriter::boolean(bool value) {
  separate();
  text_ += value ? "true" : "false";
}

}  // namespace gd2fs::cli
