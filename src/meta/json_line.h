// JsonLine: one flat JSON object on one line, with integers, booleans and strings: the lines of a
// metadata dump. Fields keep their order. Byte strings that are no UTF-8 are written in hex under
// NAME_hex. Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace gd2fs {

class JsonLine {
 public:
  static constexpr size_t kLineMaxBytes = 64 * 1024;
  static constexpr size_t kFieldsMax = 256;

  JsonLine() = default;
  // invalid, with the place, if it is not such an object.
  static Result<JsonLine> parse(std::string_view line);
  std::string text() const;

  void add_u64(std::string_view name, uint64_t value);
  void add_i64(std::string_view name, int64_t value);
  void add_bool(std::string_view name, bool value);
  void add_bytes(std::string_view name, std::string_view value);

  bool has(std::string_view name) const { return find(name) != nullptr; }
  // invalid, naming the field, if it is not there or of another type or range.
  Result<uint64_t> u64(std::string_view name, uint64_t max = UINT64_MAX) const;
  Result<int64_t> i64(std::string_view name) const;
  Result<bool> boolean(std::string_view name) const;
  Result<std::string> bytes(std::string_view name) const;

 private:
  friend class JsonParser;
  struct Field {
    std::string name;
    std::string value;  // a string's content, or the number or word as it stands
    bool quoted = false;
  };
  const Field* find(std::string_view name) const;
  std::vector<Field> fields_;
};

}  // namespace gd2fs
