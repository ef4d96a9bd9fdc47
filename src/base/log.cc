#include "base/log.h"

#include <atomic>
#include <cstdio>
#include <ctime>
#include <unistd.h>

namespace gd2fs {
namespace {

constexpr const char* kLevelNames[] = {"debug", "info", "warn", "error", "off"};

void write_stderr(LogLevel level, std::string_view line) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm utc{};
  gmtime_r(&now.tv_sec, &utc);
  char stamp[64];
  std::snprintf(stamp, sizeof stamp,
                "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s gd2fs: ", utc.tm_year + 1900,
                utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                now.tv_nsec / 1000000, kLevelNames[static_cast<int>(level)]);
  std::string out(stamp);
  out += line;
  out += '\n';
  // One write, so that lines of several threads do not mix; a full pipe loses the line.
  [[maybe_unused]] ssize_t written = write(STDERR_FILENO, out.data(), out.size());
}

std::atomic<LogSink> g_sink = write_stderr;
std::atomic<LogLevel> g_level = LogLevel::info;

}  // namespace

void set_log_sink(LogSink sink) {
  g_sink = sink != nullptr ? sink : write_stderr;
}
void set_log_level(LogLevel level) {
  g_level = level;
}
bool log_enabled(LogLevel level) {
  return level >= g_level.load(std::memory_order_relaxed);
}

bool parse_log_level(std::string_view text, LogLevel* level) {
  for (int i = 0; i < 5; ++i) {
    if (text == kLevelNames[i]) {
      *level = static_cast<LogLevel>(i);
      return true;
    }
  }
  return false;
}

std::string format_line(std::string_view format, std::initializer_list<LogArg> args) {
  std::string out;
  const LogArg* arg = args.begin();
  for (size_t at = 0; at < format.size(); ++at) {
    if (format[at] == '{' && at + 1 < format.size() && format[at + 1] == '}' && arg != args.end()) {
      out += (arg++)->text();
      ++at;
    } else {
      out += format[at];
    }
  }
  return out;
}

void log_line(LogLevel level, std::string_view format, std::initializer_list<LogArg> args) {
  g_sink.load()(level, format_line(format, args));
}

}  // namespace gd2fs
