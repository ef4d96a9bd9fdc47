#include "client/completion_status.h"

#include <cerrno>

#include <xfer/gd2fs.h>

namespace gd2fs::client {
namespace {

unsigned class_of(const Status& status, Origin origin) {
  switch (status.code()) {
    case StatusCode::ok:
      return XFER_GD2FS_STATUS_CLASS_SUCCESS;
    case StatusCode::canceled:
      return XFER_GD2FS_STATUS_CLASS_CLIENT;
    case StatusCode::timed_out:
    case StatusCode::unavailable:
      return XFER_GD2FS_STATUS_CLASS_TRANSPORT;
    default:
      break;
  }
  const bool answered = origin == Origin::controller || origin == Origin::server;
  return answered ? XFER_GD2FS_STATUS_CLASS_SERVER : XFER_GD2FS_STATUS_CLASS_CLIENT;
}

bool do_not_retry(StatusCode code) {
  switch (code) {
    case StatusCode::not_found:
    case StatusCode::exists:
    case StatusCode::invalid:
    case StatusCode::denied:
    case StatusCode::corrupt:
    case StatusCode::unsupported:
      return true;
    default:
      return false;
  }
}

}  // namespace

uint16_t completion_status(const Status& status, Origin origin) {
  if (status.ok()) return 0;
  int code = status.errno_value();
  if (code <= 0 || code > 0xff) code = EIO;
  unsigned bits = static_cast<unsigned>(code);
  bits |= class_of(status, origin) << 8;
  bits |= static_cast<unsigned>(origin) << 11;
  if (do_not_retry(status.code())) bits |= 1u << 15;
  return static_cast<uint16_t>(bits);
}

}  // namespace gd2fs::client
