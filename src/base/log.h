// Log: one line per event, written where a failure is handled, never where it is returned.
//
// GD2FS_LOG_INFO("drive {} set aside: {}", name, status.to_string()) formats with std::format-like
// braces (our own tiny formatter: strings, integers, doubles) and hands the line to one sink.
// Servers install a sink that writes to stderr or the journal; libgd2fs writes to stderr at the
// level of xfer_gd2fs_options.log_level. Any thread.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

namespace gd2fs {

enum class LogLevel : uint8_t { debug, info, warn, error, off };

using LogSink = void (*)(LogLevel level, std::string_view line);
void set_log_sink(LogSink sink);  // default: "2026-01-31T12:00:00.123Z warn gd2fs: line" on stderr
void set_log_level(LogLevel level);
bool log_enabled(LogLevel level);
// "info", "warn", "error", "debug", "off"; false if it is none of these.
bool parse_log_level(std::string_view text, LogLevel* level);

class LogArg {
 public:
  LogArg(std::string_view text) : text_(text) {}    // NOLINT(google-explicit-constructor)
  LogArg(const std::string& text) : text_(text) {}  // NOLINT(google-explicit-constructor)
  LogArg(const char* text) : text_(text) {}         // NOLINT(google-explicit-constructor)
  template <class T>
    requires std::is_arithmetic_v<T>
  LogArg(T value) : text_(std::to_string(value)) {}  // NOLINT(google-explicit-constructor)
  std::string_view text() const { return text_; }

 private:
  std::string text_;
};

// "{}" takes the next argument; there are no format options.
std::string format_line(std::string_view format, std::initializer_list<LogArg> args);
void log_line(LogLevel level, std::string_view format, std::initializer_list<LogArg> args);

}  // namespace gd2fs

#define GD2FS_LOG(level, format, ...)                                                 \
  do {                                                                                \
    if (::gd2fs::log_enabled(level)) ::gd2fs::log_line(level, format, {__VA_ARGS__}); \
  } while (0)
#define GD2FS_LOG_DEBUG(...) GD2FS_LOG(::gd2fs::LogLevel::debug, __VA_ARGS__)
#define GD2FS_LOG_INFO(...) GD2FS_LOG(::gd2fs::LogLevel::info, __VA_ARGS__)
#define GD2FS_LOG_WARN(...) GD2FS_LOG(::gd2fs::LogLevel::warn, __VA_ARGS__)
#define GD2FS_LOG_ERROR(...) GD2FS_LOG(::gd2fs::LogLevel::error, __VA_ARGS__)
