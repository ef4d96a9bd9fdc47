#include "meta/record.h"

#include "base/bytes.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "meta/keys.h"

namespace gd2fs {

namespace {

constexpr size_t kHeadBytes = 2;
constexpr size_t kCrcBytes = 4;

uint32_t record_crc(std::string_view key, std::string_view body) {
  return crc32c_extend(crc32c(as_bytes(key.data(), key.size())),
                       as_bytes(body.data(), body.size()));
}

Status bad(std::string_view key, std::string_view why) {
  return {StatusCode::corrupt, "metadata record " + printable_key(key) + ": " + std::string(why)};
}

}  // namespace

RecordWriter::RecordWriter(RecordKind kind) {
  u8(static_cast<uint8_t>(kind));
  u8(RecordReader::kVersion);
}

void RecordWriter::text(std::string_view value) {
  CHECK(value.size() <= UINT16_MAX);
  u16(static_cast<uint16_t>(value.size()));
  out_ += value;
}

std::string RecordWriter::finish(std::string_view key) && {
  u32(record_crc(key, out_));
  return std::move(out_);
}

Result<RecordReader> RecordReader::open(RecordKind kind, std::string_view key,
                                        std::string_view value) {
  if (value.size() < kHeadBytes + kCrcBytes) return fail(bad(key, "too short"));
  const std::string_view body = value.substr(0, value.size() - kCrcBytes);
  if (record_crc(key, body) != load_le<uint32_t>(value.data() + body.size())) {
    return fail(bad(key, "wrong checksum"));
  }
  if (static_cast<uint8_t>(body[0]) != static_cast<uint8_t>(kind)) {
    return fail(bad(key, "wrong kind"));
  }
  if (static_cast<uint8_t>(body[1]) > kVersion) {
    return fail(StatusCode::unsupported,
                "metadata record " + printable_key(key) + " was written by a newer version");
  }
  return RecordReader(key, body.substr(kHeadBytes));
}

std::string RecordReader::text() {
  const uint16_t length_bytes = take<uint16_t>();
  if (fields_.size() < length_bytes) {
    cut_ = true;
    fields_ = {};
    return {};
  }
  std::string value(fields_.substr(0, length_bytes));
  fields_.remove_prefix(length_bytes);
  return value;
}

Status RecordReader::finish() const {
  return cut_ ? bad(key_, "a field is cut off") : Status();
}

}  // namespace gd2fs
