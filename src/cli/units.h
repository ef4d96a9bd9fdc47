// Units: sizes, durations and rates as people write and read them.
//
// Sizes: bytes, or a number with KiB MiB GiB TiB (powers of 1024; K M G T mean the same) or kB MB
// GB TB (powers of 1000). Durations: a number with ns us ms s m h. Numbers may have a fraction;
// negative ones, unknown units and what does not fit 64 bits are invalid. Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace gd2fs::cli {

Result<uint64_t> parse_size(std::string_view text);      // bytes
Result<uint64_t> parse_duration(std::string_view text);  // nanoseconds
Result<uint64_t> parse_count(std::string_view text);     // plain decimal
Result<bool> parse_switch(std::string_view text);        // true false on off yes no 1 0

// Exact, so that parsing it again gives the same: "4MiB", "1000", "250ms", "0s".
std::string exact_size(uint64_t bytes);
std::string exact_duration(uint64_t ns);

// For reading: "1.5 GiB", "812 MB/s" (10^6, as drives and networks are measured), "1:02:03".
std::string readable_size(uint64_t bytes);
std::string readable_rate(double bytes_per_s);
std::string readable_seconds(uint64_t seconds);
// "2026-01-31 12:00:00" UTC; "-" for 0.
std::string readable_time(uint64_t us_since_1970);

}  // namespace gd2fs::cli
