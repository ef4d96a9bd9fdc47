// Status: what went wrong, named by what the caller can do about it.
//
// A function that can fail returns Status, or Result<T> (std::expected<T, Status>). The code says
// what the caller can do; errno_value keeps the operating system's reason where there is one; the
// text is for a person and grows by one clause per level that knows something new ("add context
// once per level, log once where it is handled").
//
// Cost: one pointer, null when ok, so that what goes well costs next to nothing on its way up; a
// failure is one allocation. Thread rule: a plain value; copies share the immutable failure.
#pragma once

#include <atomic>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace gd2fs {

enum class StatusCode : uint8_t {
  ok = 0,
  not_found,    // the thing named does not exist: create it or correct the name
  exists,       // it exists already
  invalid,      // the arguments can never work: fix the caller
  denied,       // no right to do this: get a token
  no_space,     // disk or quota is full (errno tells ENOSPC from EDQUOT)
  stale,        // the caller's generation or epoch is old: resolve again, then retry
  busy,         // a named limit is reached: retry later
  unavailable,  // the peer or drive cannot serve now: retry, elsewhere if possible
  timed_out,    // no progress within the time allowed
  corrupt,      // the bytes are damaged and no good copy is known
  unsupported,  // this version or this set-up cannot do it
  canceled,     // the caller (or its owner) gave up
  io,           // a device failed; errno says how
};
inline constexpr uint8_t kStatusCodes = 14;

// The name as written in this enum ("not_found").
std::string_view status_code_name(StatusCode code);
// The errno that stands for a code when no better one is known (not_found -> ENOENT).
int status_code_errno(StatusCode code);
// The code that an errno of the operating system means (ENOENT -> not_found, unknown -> io).
StatusCode status_code_from_errno(int errno_value);

class [[nodiscard]] Status {
 public:
  Status() = default;  // ok
  explicit Status(StatusCode code, int errno_value = 0);
  Status(StatusCode code, std::string_view text, int errno_value = 0);
  Status(const Status& other) : failure_(other.failure_) {
    if (failure_ != nullptr) hold();
  }
  Status(Status&& other) noexcept : failure_(std::exchange(other.failure_, nullptr)) {}
  Status& operator=(Status other) noexcept {
    std::swap(failure_, other.failure_);
    return *this;
  }
  ~Status() {
    if (failure_ != nullptr) release();
  }

  // From errno as the kernel gave it: "open /x: No such file or directory".
  static Status from_errno(int errno_value, std::string_view what);

  bool ok() const { return failure_ == nullptr; }
  StatusCode code() const { return ok() ? StatusCode::ok : failure_->code; }
  bool is(StatusCode code) const { return this->code() == code; }
  // 0 when ok, else never 0: the kept errno, or the code's own.
  int errno_value() const;
  std::string_view text() const { return ok() ? std::string_view() : failure_->text; }

  // The same failure with "context: " in front of its text. An ok Status stays ok.
  Status with(std::string_view context) const;
  // "not_found: /a/b: No such file or directory"; "ok".
  std::string to_string() const;

  // Two statuses are equal when a caller would act the same: code and errno.
  friend bool operator==(const Status& a, const Status& b) {
    return a.code() == b.code() && a.errno_value() == b.errno_value();
  }

 private:
  struct Failure {
    StatusCode code;
    int errno_value;  // 0: the code's own
    std::string text;
    std::atomic<uint32_t> holders{1};
  };
  void hold() const;
  void release() const;

  Failure* failure_ = nullptr;
};

template <class T>
using Result = std::expected<T, Status>;

// Builds the error side of a Result: `return fail(StatusCode::not_found, path);`
inline std::unexpected<Status> fail(Status status) {
  return std::unexpected<Status>(std::move(status));
}
inline std::unexpected<Status> fail(StatusCode code, std::string_view text, int errno_value = 0) {
  return std::unexpected<Status>(Status(code, text, errno_value));
}

}  // namespace gd2fs

// Returns the Status of `expr` from the enclosing function if it is not ok.
#define GD2FS_TRY(expr)                                                    \
  do {                                                                     \
    if (::gd2fs::Status gd2fs_try_status = (expr); !gd2fs_try_status.ok()) \
      return gd2fs_try_return(std::move(gd2fs_try_status));                \
  } while (0)

namespace gd2fs {
// Converts to Status and to Result<T>, so that GD2FS_TRY serves functions of both kinds.
struct TryReturn {
  Status status;
  operator Status() && { return std::move(status); }  // NOLINT(google-explicit-constructor)
  template <class T>
  operator Result<T>() && {  // NOLINT(google-explicit-constructor)
    return std::unexpected<Status>(std::move(status));
  }
};
}  // namespace gd2fs
inline gd2fs::TryReturn gd2fs_try_return(gd2fs::Status status) {
  return {std::move(status)};
}

// `GD2FS_ASSIGN(auto fd, open_file(path));` declares or assigns from a Result, or returns its
// Status.
#define GD2FS_ASSIGN(target, expr) \
  GD2FS_ASSIGN_LINE(target, expr, GD2FS_CONCAT(gd2fs_result_, __LINE__))
#define GD2FS_CONCAT(a, b) GD2FS_CONCAT_INNER(a, b)
#define GD2FS_CONCAT_INNER(a, b) a##b
#define GD2FS_ASSIGN_LINE(target, expr, result)                                    \
  auto result = (expr);                                                            \
  if (!(result).has_value()) return gd2fs_try_return(std::move((result).error())); \
  target = std::move(*(result))
