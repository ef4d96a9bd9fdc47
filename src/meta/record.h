// Record: how the namespace's values are laid out, so that a damaged, misplaced or foreign one is
// never believed and a newer one is not cut short.
//
//   u8 kind | u8 version | fields, little-endian, in the order written | u32 crc32c(key, all
//   before)
//
// A field is only ever added at the end. A reader that meets the end of the fields answers zero or
// empty for the rest (an older writer), and keeps what lies behind the fields it knows (a newer
// writer), so that writing the record back loses nothing. `version` grows when that is not enough;
// a higher one than ours is unsupported. Pure; any thread.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"

namespace gd2fs {

enum class RecordKind : uint8_t {
  format = 1,
  cluster = 2,
  cluster_name = 3,
  dentry = 4,
  inode = 5,
  counter = 6,
  tag = 7,
  tag_floor = 8,
  usage = 9,
  intent = 10,
  // The controller's own (controller/records.h).
  capability_keys = 64,
  server = 65,
  group = 66,
};

class RecordWriter {
 public:
  explicit RecordWriter(RecordKind kind);
  void u8(uint8_t value) { out_.push_back(static_cast<char>(value)); }
  void u16(uint16_t value) { put(value); }
  void u32(uint32_t value) { put(value); }
  void u64(uint64_t value) { put(value); }
  void i64(int64_t value) { put(value); }
  void text(std::string_view value);  // u16 length, bytes; at most 65535
  // What a reader kept of a newer writer's fields; last.
  void rest(std::string_view bytes) { out_ += bytes; }
  std::string finish(std::string_view key) &&;

 private:
  template <class T>
  void put(T value) {
    out_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  std::string out_;
};

class RecordReader {
 public:
  static constexpr uint8_t kVersion = 1;
  // corrupt: wrong crc, kind or length; the text names the key. `key` and `value` outlive it.
  static Result<RecordReader> open(RecordKind kind, std::string_view key, std::string_view value);
  uint8_t u8() { return take<uint8_t>(); }
  uint16_t u16() { return take<uint16_t>(); }
  uint32_t u32() { return take<uint32_t>(); }
  uint64_t u64() { return take<uint64_t>(); }
  int64_t i64() { return take<int64_t>(); }
  std::string text();
  std::string rest() { return std::string(std::exchange(fields_, {})); }
  // corrupt if a field was cut in two.
  Status finish() const;

 private:
  RecordReader(std::string_view key, std::string_view fields) : key_(key), fields_(fields) {}
  template <class T>
  T take() {
    T value = 0;
    if (fields_.size() >= sizeof value) {
      fields_.copy(reinterpret_cast<char*>(&value), sizeof value);
      fields_.remove_prefix(sizeof value);
    } else {
      cut_ = cut_ || !fields_.empty();
      fields_ = {};
    }
    return value;
  }
  std::string_view key_;
  std::string_view fields_;
  bool cut_ = false;
};

}  // namespace gd2fs
