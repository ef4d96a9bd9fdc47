#include "base/status.h"

#include <cerrno>
#include <system_error>

namespace gd2fs {

std::string_view status_code_name(StatusCode code) {
  switch (code) {
    case StatusCode::ok:
      return "ok";
    case StatusCode::not_found:
      return "not_found";
    case StatusCode::exists:
      return "exists";
    case StatusCode::invalid:
      return "invalid";
    case StatusCode::denied:
      return "denied";
    case StatusCode::no_space:
      return "no_space";
    case StatusCode::stale:
      return "stale";
    case StatusCode::busy:
      return "busy";
    case StatusCode::unavailable:
      return "unavailable";
    case StatusCode::timed_out:
      return "timed_out";
    case StatusCode::corrupt:
      return "corrupt";
    case StatusCode::unsupported:
      return "unsupported";
    case StatusCode::canceled:
      return "canceled";
    case StatusCode::io:
      return "io";
  }
  return "unknown";
}

int status_code_errno(StatusCode code) {
  switch (code) {
    case StatusCode::ok:
      return 0;
    case StatusCode::not_found:
      return ENOENT;
    case StatusCode::exists:
      return EEXIST;
    case StatusCode::invalid:
      return EINVAL;
    case StatusCode::denied:
      return EACCES;
    case StatusCode::no_space:
      return ENOSPC;
    case StatusCode::stale:
      return ESTALE;
    case StatusCode::busy:
      return EAGAIN;
    case StatusCode::unavailable:
      return EHOSTUNREACH;
    case StatusCode::timed_out:
      return ETIMEDOUT;
    case StatusCode::corrupt:
      return EIO;
    case StatusCode::unsupported:
      return ENOTSUP;
    case StatusCode::canceled:
      return ECANCELED;
    case StatusCode::io:
      return EIO;
  }
  return EIO;
}

StatusCode status_code_from_errno(int errno_value) {
  switch (errno_value) {
    case 0:
      return StatusCode::ok;
    case ENOENT:
    case ENODEV:
    case ENXIO:
      return StatusCode::not_found;
    case EEXIST:
      return StatusCode::exists;
    case EINVAL:
    case EISDIR:
    case ENOTDIR:
    case ENOTEMPTY:
    case ENAMETOOLONG:
    case EBADF:
    case EFBIG:
      return StatusCode::invalid;
    case EACCES:
    case EPERM:
    case EROFS:
      return StatusCode::denied;
    case ENOSPC:
    case EDQUOT:
      return StatusCode::no_space;
    case ESTALE:
      return StatusCode::stale;
    case EAGAIN:
    case EBUSY:
    case ENOBUFS:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return StatusCode::busy;
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENOTCONN:
      return StatusCode::unavailable;
    case ETIMEDOUT:
      return StatusCode::timed_out;
    case ENOTSUP:
    case ENOSYS:
      return StatusCode::unsupported;
    case ECANCELED:
      return StatusCode::canceled;
    default:
      return StatusCode::io;
  }
}

Status::Status(StatusCode code, int errno_value) : Status(code, std::string_view(), errno_value) {}

Status::Status(StatusCode code, std::string_view text, int errno_value) {
  if (code != StatusCode::ok) failure_ = new Failure{code, errno_value, std::string(text)};
}

void Status::hold() const {
  failure_->holders.fetch_add(1, std::memory_order_relaxed);
}

void Status::release() const {
  if (failure_->holders.fetch_sub(1, std::memory_order_acq_rel) == 1) delete failure_;
}

Status Status::from_errno(int errno_value, std::string_view what) {
  std::string text(what);
  text += ": ";
  text += std::generic_category().message(errno_value);
  return {status_code_from_errno(errno_value), text, errno_value};
}

int Status::errno_value() const {
  if (ok()) return 0;
  return failure_->errno_value != 0 ? failure_->errno_value : status_code_errno(failure_->code);
}

Status Status::with(std::string_view context) const {
  if (ok()) return *this;
  std::string longer(context);
  if (!text().empty()) {
    longer += ": ";
    longer += text();
  }
  return {code(), longer, failure_->errno_value};
}

std::string Status::to_string() const {
  std::string out(status_code_name(code()));
  if (!text().empty()) {
    out += ": ";
    out += text();
  }
  return out;
}

}  // namespace gd2fs
