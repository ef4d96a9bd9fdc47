// Rows of large transfers.
#include <cstring>

#include "cli/bench/bench_rows.h"

namespace gd2fs {
namespace {

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

}  // namespace

void Pairs::add(double ours_s, double baseline_s, const CpuSeconds& used) {
  ours_us.push_back(ours_s * 1e6);
  baseline_us.push_back(baseline_s * 1e6);
  ratios.push_back(baseline_s / ours_s);
  cpu += used;
}

BenchRow Pairs::row(uint64_t size_bytes, const char* op, const char* state) const {
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

Status LargeTransfers::write(Bench& bench) {
  GD2FS_ASSIGN(BenchClient client, bench.connect(bench.data.bytes()));
  const Bytes source = bench.data.first(size_bytes_);
  first_file_ = files_;
  for (; files_ <= first_file_ + samples_; ++files_) {
    const std::string path = bench_file(size_bytes_, files_);
    GD2FS_TRY(client.create(path, size_bytes_));
    const CpuMeter cpu(bench.server.pid());
    GD2FS_ASSIGN(const double ours, client.run_one({true, path, 0, source}));
    const CpuSeconds used = cpu.used();
    GD2FS_ASSIGN(const double baseline, bench.drive.write(source, files_));
    if (files_ != first_file_) writes_.add(ours, baseline, used);
  }
  return {};
}

Status LargeTransfers::read_cold(Bench& bench) {
  GD2FS_ASSIGN(BenchClient client, bench.connect(bench.memory.bytes()));
  for (uint32_t file = first_file_; file < files_; ++file) {
    const CpuMeter cpu(bench.server.pid());
    GD2FS_ASSIGN(const double ours,
                 read_and_compare(bench, client, size_bytes_, bench_file(size_bytes_, file)));
    const CpuSeconds used = cpu.used();
    GD2FS_ASSIGN(const double baseline, bench.drive.read(bench.memory.first(size_bytes_), file));
    if (file != first_file_) misses_.add(ours, baseline, used);
  }
  return {};
}

// One of the last pass's files: where these were read cold it is in the slab, which has no room for
// those of all passes; else the sample that is dropped brings it there.
Status LargeTransfers::read_hot(Bench& bench) {
  GD2FS_ASSIGN(BenchClient client, bench.connect(bench.memory.bytes()));
  const std::string path = bench_file(size_bytes_, first_file_);
  const Bytes target = bench.memory.first(size_bytes_);
  for (uint32_t i = 0; i <= samples_; ++i) {
    std::memset(target.data(), 0xA5, target.size());
    const CpuMeter cpu(bench.server.pid());
    GD2FS_ASSIGN(const double ours, client.run_one({false, path, 0, target}));
    const CpuSeconds used = cpu.used();
    GD2FS_TRY(compare(target, bench.data.first(size_bytes_), path));
    GD2FS_ASSIGN(const double baseline, bench.hit_baseline(target));
    if (i != 0) hits_.add(ours, baseline, used);
  }
  return {};
}

Status LargeTransfers::write_memory(Bench& bench) {
  GD2FS_ASSIGN(BenchClient client, bench.connect(bench.data.bytes(), BenchServer::kMemoryCluster));
  const Bytes source = bench.data.first(size_bytes_);
  for (uint32_t i = 0; i <= samples_; ++i) {
    const std::string path = bench_file(size_bytes_, i);
    GD2FS_TRY(client.create(path, size_bytes_));
    const CpuMeter cpu(bench.server.pid());
    GD2FS_ASSIGN(const double ours, client.run_one({true, path, 0, source}));
    const CpuSeconds used = cpu.used();
    GD2FS_TRY(client.fsync(path));
    const double baseline = best_checked_copy(source, bench.memory.first(size_bytes_));
    if (i == samples_) GD2FS_TRY(check_file(bench, size_bytes_, path));
    GD2FS_TRY(client.unlink(path));
    if (i == 0) {
      // The slab took memory from the other cluster for it, and has it cleared beside its work.
      bench.server.rest();
      continue;
    }
    memory_writes_.add(ours, baseline, used);
  }
  return {};
}

BenchRow LargeTransfers::write_row() const {
  return writes_.row(size_bytes_, "write", "disk");
}

BenchRow LargeTransfers::miss_row() const {
  BenchRow row = misses_.row(size_bytes_, "read", "miss");
  row.note = "cpu includes the check of the bytes";
  return row;
}

BenchRow LargeTransfers::hit_row() const {
  return hits_.row(size_bytes_, "read", "hit");
}

BenchRow LargeTransfers::memory_write_row() const {
  return memory_writes_.row(size_bytes_, "write", "memory");
}

}  // namespace gd2fs
