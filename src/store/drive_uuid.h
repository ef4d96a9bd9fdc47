// DriveUuid: who a drive is, for ever. It stands in drive.id, and people meet it in logs and
// settings. A plain value; any thread.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/status.h"

namespace gd2fs {

struct DriveUuid {
  std::array<std::byte, 16> bytes{};
  friend auto operator<=>(const DriveUuid&, const DriveUuid&) = default;
  std::string to_string() const;                          // 32 hex digits
  static Result<DriveUuid> parse(std::string_view text);  // invalid
  // The half that every descriptor carries, so that a file copied from elsewhere is noticed.
  uint64_t tag() const { return load_le<uint64_t>(bytes.data()); }
};

}  // namespace gd2fs
