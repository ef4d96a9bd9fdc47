// Json: writing JSON, for `-o json` and friends. No reading.
//
//   JsonWriter json;
//   json.begin_object();
//   json.key("size_bytes"); json.number(4096);
//   json.end_object();
//   json.text()
// The caller keeps begin and end balanced. Bytes that are not UTF-8 are written as U+FFFD. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gd2fs::cli {

std::string json_quoted(std::string_view text);

class JsonWriter {
 public:
  void begin_object() { open('{'); }
  void end_object() { close('}'); }
  void begin_list() { open('['); }
  void end_list() { close(']'); }
  void key(std::string_view name);
  void string(std::string_view value);
  void number(uint64_t value);
  void real(double value);  // not finite: null
  void boolean(bool value);
  const std::string& text() const { return text_; }

 private:
  void open(char bracket);
  void close(char bracket);
  void separate();
  std::string text_;
  bool first_ = true;  // of the innermost object or list
  bool after_key_ = false;
};

}  // namespace gd2fs::cli
