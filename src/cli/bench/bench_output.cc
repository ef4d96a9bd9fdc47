#include <cmath>
#include <cstdio>

#include "base/bytes.h"
#include "cli/bench/bench.h"

namespace gd2fs {
namespace {

std::string number(double value) {
  if (!std::isfinite(value)) return "0";
  char text[64];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

std::string size_text(uint64_t bytes) {
  if (bytes >= kGiB && bytes % kGiB == 0) return std::to_string(bytes / kGiB) + " GiB";
  if (bytes >= kMiB && bytes % kMiB == 0) return std::to_string(bytes / kMiB) + " MiB";
  if (bytes >= kKiB && bytes % kKiB == 0) return std::to_string(bytes / kKiB) + " KiB";
  return std::to_string(bytes) + " B";
}

}  // namespace

std::string bench_rows_json(const std::vector<BenchRow>& rows) {
  std::string out = "[";
  for (size_t i = 0; i < rows.size(); ++i) {
    const BenchRow& row = rows[i];
    out += i == 0 ? "\n" : ",\n";
    out += R"(  {"path": ")" + row.path + R"(", "op": ")" + row.op + R"(", "state": ")" +
           row.state + R"(", "size_bytes": )" + std::to_string(row.size_bytes) +
           ", \"depth\": " + std::to_string(row.depth) +
           ", \"count\": " + std::to_string(row.count) + ", \"avg_us\": " + number(row.avg_us) +
           ", \"p50_us\": " + number(row.p50_us) + ", \"p99_us\": " + number(row.p99_us) +
           ", \"gb_per_s\": " + number(row.gb_per_s) +
           ", \"baseline_gb_per_s\": " + number(row.baseline_gb_per_s) +
           ", \"ratio\": " + number(row.ratio) + ", \"cpu_s_per_gb\": " + number(row.cpu_s_per_gb) +
           "}";
  }
  return out + "\n]\n";
}

std::string bench_rows_table(const std::vector<BenchRow>& rows) {
  char line[256];
  std::snprintf(line, sizeof line,
                "%-4s %-5s %-6s %9s %5s %6s %10s %10s %10s %7s %8s %6s %8s %7s %7s  %s\n", "path",
                "op", "state", "size", "depth", "count", "avg us", "p50 us", "p99 us", "GB/s",
                "baseline", "ratio", "cpu s/GB", "client", "server", "");
  std::string out = line;
  for (const BenchRow& row : rows) {
    std::snprintf(line, sizeof line,
                  "%-4s %-5s %-6s %9s %5u %6llu %10.1f %10.1f %10.1f %7.3f %8.3f %6.2f %8.2f "
                  "%7.2f %7.2f  ",
                  row.path.c_str(), row.op.c_str(), row.state.c_str(),
                  size_text(row.size_bytes).c_str(), row.depth,
                  static_cast<unsigned long long>(row.count), row.avg_us, row.p50_us, row.p99_us,
                  row.gb_per_s, row.baseline_gb_per_s, row.ratio, row.cpu_s_per_gb,
                  row.client_cpu_s_per_gb, row.server_cpu_s_per_gb);
    out += line + row.note + "\n";
  }
  return out;
}

}  // namespace gd2fs
