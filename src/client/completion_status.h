// CompletionStatus: how a Status becomes the 16 bits of xfer_gd2fs_completion.status.
//
//   class     SUCCESS    ok
//             CLIENT     canceled, and whatever this library found wrong by itself (Origin client,
//             ...) TRANSPORT  timed_out and unavailable, whoever said so: no answer within the time
//             allowed SERVER     every other answer of a controller or a server
//   code      the errno kept in the Status, or the code's own
//   detail    the Origin
//   bit 15    not_found, exists, invalid, denied, corrupt, unsupported: sending the same again
//             unchanged cannot succeed
// Pure; any thread.
#pragma once

#include <cstdint>

#include "base/status.h"

namespace gd2fs::client {

// Where a request failed; the numbers are XFER_GD2FS_STATUS_DETAIL_*.
enum class Origin : uint8_t {
  none = 0,
  controller = 1,
  server = 2,
  iomem = 3,
  ctx = 4,
  request = 5
};

uint16_t completion_status(const Status& status, Origin origin);

}  // namespace gd2fs::client
