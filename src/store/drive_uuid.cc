#include "store/drive_uuid.h"

#include <charconv>
#include <cstdio>

namespace gd2fs {

std::string DriveUuid::to_string() const {
  std::string text;
  for (const std::byte b : bytes) {
    char hex[3];
    std::snprintf(hex, sizeof hex, "%02x", static_cast<unsigned>(b));
    text += hex;
  }
  return text;
}

Result<DriveUuid> DriveUuid::parse(std::string_view text) {
  DriveUuid uuid;
  bool ok = text.size() == 2 * uuid.bytes.size();
  for (size_t i = 0; ok && i < uuid.bytes.size(); ++i) {
    const std::string_view digits = text.substr(2 * i, 2);
    uint8_t value = 0;
    const auto [end, error] = std::from_chars(digits.begin(), digits.end(), value, 16);
    ok = error == std::errc() && end == digits.end();
    uuid.bytes[i] = std::byte{value};
  }
  if (!ok) return fail(StatusCode::invalid, std::string(text) + " is not a drive's 32 hex digits");
  return uuid;
}

}  // namespace gd2fs
