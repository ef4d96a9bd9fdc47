// Rows of large transfers.
#include <cstring>

#include "cli/bench/bench_rows.h"
#include "cli/bench/samples.h"

namespace gd2fs {
namespace {

// More samples from as many files: of 1 GiB a drive has room for few.
constexpr int kMissPasses = 2;

// What one row gathers: pairs of samples, ours and the baseline's.
struct Pairs {
  uint64_t size_bytes;
  std::vector<double> ours_us;
  std::vector<double> baseline_us;
  std::vector<double> ratios;
  CpuSeconds cpu;

  void add(double ours_s, double baseline_s) {
    ours_us.push_back(ours_s * 1e6);
    baseline_us.push_back(baseline_s * 1e6);
    ratios.push_back(baseline_s / ours_s);
  }
  BenchRow row(const char* op, const char* state) const {
    BenchRow row;
    row.op = op;
    row.state = state;
    row.size_bytes = size_bytes;
    row.count = ours_us.size();
    row.avg_us = mean(ours_us);
    row.p50_us = median(ours_us);
    row.p99_us = percentile(ours_us, 99);
    row.gb_per_s = static_cast<double>(size_bytes) / row.p50_us / 1e3;
    row.baseline_gb_per_s = static_cast<double>(size_bytes) / median(baseline_us) / 1e3;
    row.ratio = median(ratios);
    const double gb = static_cast<double>(size_bytes) * static_cast<double>(ours_us.size()) / 1e9;
    row.cpu_s_per_gb = cpu.both() / gb;
    row.client_cpu_s_per_gb = cpu.client / gb;
    row.server_cpu_s_per_gb = cpu.server / gb;
    return row;
  }
};

Status compare(ConstBytes got, ConstBytes wanted, const std::string& path) {
  if (std::memcmp(got.data(), wanted.data(), wanted.size()) == 0) return {};
  return {StatusCode::corrupt, "WRONG BYTES read from " + path};
}

// One checked read; seconds.
Result<double> read_and_compare(Bench& bench, BenchClient& client, uint64_t size_bytes,
                                const std::string& path) {
  const Bytes target = bench.memory.first(size_bytes);
  std::memset(target.data(), 0xA5, target.size());
  GD2FS_ASSIGN(const double seconds, client.run_one({false, path, 0, target}));
  GD2FS_TRY(compare(target, bench.data.first(size_bytes), path));
  return seconds;
}

// What a file of the cluster of durability memory holds.
Status check_file(Bench& bench, uint64_t size_bytes, const std::string& path) {
  GD2FS_ASSIGN(BenchClient reader,
               bench.connect(bench.memory.bytes(), BenchServer::kMemoryCluster));
  const Result<double> read = read_and_compare(bench, reader, size_bytes, path);
  return read ? Status() : read.error();
}

// Each file is read once by a server that has just started, so each is a miss.
Status read_cold(Bench& bench, uint32_t samples, Pairs* pairs) {
  GD2FS_TRY(bench.server.restart());
  GD2FS_ASSIGN(BenchClient client, bench.connect(bench.memory.bytes()));
  for (uint32_t i = 0; i <= samples; ++i) {
    const CpuMeter cpu(bench.server.pid());
    GD2FS_ASSIGN(const double ours, read_and_compare(bench, client, pairs->size_bytes,
                                                     bench_file(pairs->size_bytes, i)));
    const CpuSeconds used = cpu.used();
    GD2FS_ASSIGN(const double baseline, bench.drive.read(bench.memory.first(pairs->size_bytes), i));
    if (i == 0) continue;
    pairs->cpu += used;
    pairs->add(ours, baseline);
  }
  return {};
}

}  // namespace

std::string bench_file(uint64_t size_bytes, uint32_t number) {
  return "/bench-" + std::to_string(size_bytes) + "-" + std::to_string(number);
}

Result<BenchClient> Bench::connect(Bytes registered, const char* cluster) {
  GD2FS_ASSIGN(BenchClient client, BenchClient::connect(server.address(), cluster, options.lanes));
  client.use_device(options.device);
  GD2FS_TRY(client.use(registered));
  return client;
}

Result<double> Bench::hit_baseline(Bytes target) {
  if (options.path == "shm") return best_copy(data.first(target.size()), target);
  return sockets.transfer(target);
}

Result<BenchRow> large_write_row(Bench& bench, uint64_t size_bytes, uint32_t samples) {
  GD2FS_ASSIGN(BenchClient client, bench.connect(bench.data.bytes()));
  const Bytes source = bench.data.first(size_bytes);
  Pairs pairs{size_bytes, {}, {}, {}, {}};
  for (uint32_t i = 0; i <= samples; ++i) {  // sample 0 is dropped
    const std::string path = bench_file(size_bytes, i);
    GD2FS_TRY(client.create(path, size_bytes));
    const CpuMeter cpu(bench.server.pid());
    GD2FS_ASSIGN(const double ours, client.run_one({true, path, 0, source}));
    const CpuSeconds used = cpu.used();
    GD2FS_ASSIGN(const double baseline, bench.drive.write(source, i));
    if (i == 0) continue;
    pairs.cpu += used;
    pairs.add(ours, baseline);
  }
  return pairs.row("write", "disk");
}

Result<BenchRow> large_memory_write_row(Bench& bench, uint64_t size_bytes, uint32_t samples) {
  GD2FS_ASSIGN(BenchClient client, bench.connect(bench.data.bytes(), BenchServer::kMemoryCluster));
  const Bytes source = bench.data.first(size_bytes);
  Pairs pairs{size_bytes, {}, {}, {}, {}};
  for (uint32_t i = 0; i <= samples; ++i) {
    const std::string path = bench_file(size_bytes, i);
    GD2FS_TRY(client.create(path, size_bytes));
    const CpuMeter cpu(bench.server.pid());
    GD2FS_ASSIGN(const double ours, client.run_one({true, path, 0, source}));
    const CpuSeconds used = cpu.used();
    GD2FS_TRY(client.fsync(path));
    const double baseline = best_checked_copy(source, bench.memory.first(size_bytes));
    if (i == samples) GD2FS_TRY(check_file(bench, size_bytes, path));
    GD2FS_TRY(client.unlink(path));
    if (i == 0) {
      // The slab took memory from the other cluster for it, and has it cleared beside its work.
      bench.server.rest();
      continue;
    }
    pairs.cpu += used;
    pairs.add(ours, baseline);
  }
  return pairs.row("write", "memory");
}

Result<BenchRow> large_miss_row(Bench& bench, uint64_t size_bytes, uint32_t samples) {
  Pairs pairs{size_bytes, {}, {}, {}, {}};
  for (int pass = 0; pass < kMissPasses; ++pass) GD2FS_TRY(read_cold(bench, samples, &pairs));
  BenchRow row = pairs.row("read", "miss");
  row.note = "cpu includes the check of the bytes";
  return row;
}

Result<BenchRow> large_hit_row(Bench& bench, uint64_t size_bytes, uint32_t samples) {
  GD2FS_ASSIGN(BenchClient client, bench.connect(bench.memory.bytes()));
  const std::string path = bench_file(size_bytes, 0);
  Pairs pairs{size_bytes, {}, {}, {}, {}};
  for (uint32_t i = 0; i <= samples; ++i) {  // sample 0 also brings the file into the slab
    const Bytes target = bench.memory.first(size_bytes);
    std::memset(target.data(), 0xA5, target.size());
    const CpuMeter cpu(bench.server.pid());
    GD2FS_ASSIGN(const double ours, client.run_one({false, path, 0, target}));
    const CpuSeconds used = cpu.used();
    GD2FS_TRY(compare(target, bench.data.first(size_bytes), path));
    GD2FS_ASSIGN(const double baseline, bench.hit_baseline(target));
    if (i == 0) continue;
    pairs.cpu += used;
    pairs.add(ours, baseline);
  }
  return pairs.row("read", "hit");
}

}  // namespace gd2fs
