#include "cli/units.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <span>

#include "base/bytes.h"
#include "loop/clock.h"

namespace gd2fs::cli {
namespace {

struct Unit {
  std::string_view name;
  uint64_t factor;
};

constexpr uint64_t kTiB = 1024 * kGiB;
constexpr std::array<Unit, 14> kSizeUnits = {{{"", 1},
                                              {"B", 1},
                                              {"K", kKiB},
                                              {"KiB", kKiB},
                                              {"kB", 1000},
                                              {"M", kMiB},
                                              {"MiB", kMiB},
                                              {"MB", 1'000'000},
                                              {"G", kGiB},
                                              {"GiB", kGiB},
                                              {"GB", 1'000'000'000},
                                              {"T", kTiB},
                                              {"TiB", kTiB},
                                              {"TB", 1'000'000'000'000}}};
constexpr std::array<Unit, 6> kDurationUnits = {{{"ns", 1},
                                                 {"us", kUs},
                                                 {"ms", kMs},
                                                 {"s", kSecond},
                                                 {"m", 60 * kSecond},
                                                 {"h", 3600 * kSecond}}};

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

std::string quoted(std::string_view text) {
  return "'" + std::string(text.substr(0, 64)) + "'";
}

// whole * factor, or fraction * factor rounded; false if it does not fit.
bool scale(std::string_view number, uint64_t factor, uint64_t* out) {
  uint64_t whole = 0;
  const char* end = number.end();
  const auto [rest, error] = std::from_chars(number.begin(), end, whole);
  if (error != std::errc()) return false;
  if (__builtin_mul_overflow(whole, factor, out)) return false;
  if (rest == end) return true;
  // A fraction: ".25". Its digits are taken as a double, which is exact enough below 2^53.
  double fraction = 0;
  const auto [after, wrong] = std::from_chars(rest, end, fraction, std::chars_format::fixed);
  if (*rest != '.' || wrong != std::errc() || after != end) return false;
  const double more = std::round(fraction * static_cast<double>(factor));
  return !__builtin_add_overflow(*out, static_cast<uint64_t>(more), out);
}

Result<uint64_t> parse_with_unit(std::string_view given, std::span<const Unit> units,
                                 std::string_view hint) {
  const std::string_view text = trim(given);
  const size_t digits = text.find_first_not_of("0123456789.");
  const std::string_view number = text.substr(0, digits);
  const std::string_view name =
      digits == std::string_view::npos ? std::string_view() : trim(text.substr(digits));
  for (const Unit& unit : units) {
    if (unit.name != name) continue;
    uint64_t value = 0;
    if (scale(number, unit.factor, &value)) return value;
    break;
  }
  return fail(StatusCode::invalid, quoted(given) + " is not " + std::string(hint));
}

std::string three_digits(double value, std::string_view unit) {
  const int decimals = value < 10 ? 2 : value < 100 ? 1 : 0;
  char text[64];
  std::snprintf(text, sizeof text, "%.*f %.*s", decimals, value, static_cast<int>(unit.size()),
                unit.data());
  return text;
}

}  // namespace

Result<uint64_t> parse_size(std::string_view text) {
  return parse_with_unit(text, kSizeUnits, "a size: write it like 512MiB or 1.5GiB");
}

Result<uint64_t> parse_duration(std::string_view text) {
  if (trim(text) == "0") return uint64_t{0};
  return parse_with_unit(text, kDurationUnits, "a duration: write it like 250ms or 5s");
}

Result<uint64_t> parse_count(std::string_view given) {
  const std::string_view text = trim(given);
  uint64_t value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || rest != text.data() + text.size()) {
    return fail(StatusCode::invalid, quoted(given) + " is not a whole number");
  }
  return value;
}

Result<bool> parse_switch(std::string_view given) {
  const std::string_view text = trim(given);
  if (text == "true" || text == "on" || text == "yes" || text == "1") return true;
  if (text == "false" || text == "off" || text == "no" || text == "0") return false;
  return fail(StatusCode::invalid, quoted(given) + " is neither true nor false");
}

std::string exact_size(uint64_t bytes) {
  if (bytes == 0) return "0";
  for (const auto& [name, factor] :
       {Unit{"TiB", kTiB}, {"GiB", kGiB}, {"MiB", kMiB}, {"KiB", kKiB}}) {
    if (bytes % factor == 0) return std::to_string(bytes / factor) + std::string(name);
  }
  return std::to_string(bytes);
}

std::string exact_duration(uint64_t ns) {
  if (ns == 0) return "0s";
  for (size_t i = kDurationUnits.size(); i > 0; --i) {
    const Unit& unit = kDurationUnits[i - 1];
    if (ns % unit.factor == 0) return std::to_string(ns / unit.factor) + std::string(unit.name);
  }
  return std::to_string(ns) + "ns";
}

std::string readable_size(uint64_t bytes) {
  if (bytes < kKiB) return std::to_string(bytes) + " B";
  static constexpr std::string_view kNames[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  while (value >= 1023.5 && unit + 1 < std::size(kNames)) {
    value /= 1024;
    ++unit;
  }
  return three_digits(value, kNames[unit]);
}

std::string readable_rate(double bytes_per_s) {
  if (bytes_per_s < 1e6) return three_digits(bytes_per_s / 1e3, "kB/s");
  if (bytes_per_s < 1e9) return three_digits(bytes_per_s / 1e6, "MB/s");
  return three_digits(bytes_per_s / 1e9, "GB/s");
}

std::string readable_seconds(uint64_t seconds) {
  char text[64];
  if (seconds >= 3600) {
    std::snprintf(text, sizeof text, "%llu:%02llu:%02llu",
                  static_cast<unsigned long long>(seconds / 3600),
                  static_cast<unsigned long long>(seconds / 60 % 60),
                  static_cast<unsigned long long>(seconds % 60));
  } else {
    std::snprintf(text, sizeof text, "%llu:%02llu", static_cast<unsigned long long>(seconds / 60),
                  static_cast<unsigned long long>(seconds % 60));
  }
  return text;
}

std::string readable_time(uint64_t us_since_1970) {
  if (us_since_1970 == 0) return "-";
  const auto seconds = static_cast<time_t>(us_since_1970 / 1'000'000);
  tm parts = {};
  if (gmtime_r(&seconds, &parts) == nullptr) return "-";
  char text[32];
  const size_t length = std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
  return {text, length};
}

}  // namespace gd2fs::cli
