// Rows of small transfers, the KV-cache shape, and metadata.
#include <atomic>
#include <cstring>
#include <mutex>
#include <thread>

#include "base/check.h"
#include "cli/bench/bench_rows.h"
#include "cli/bench/samples.h"

namespace gd2fs {
namespace {

constexpr uint32_t kSmallPageBytes = 4096;
constexpr uint32_t kBatches = 5;  // ours and baseline alternate this often; the first is dropped
constexpr uint64_t kKvBytes = 2 * kMiB;

BenchRow row_of(const char* op, const char* state, uint32_t size_bytes, uint32_t depth,
                const std::vector<double>& times_us, double gb_per_s, double baseline, double ratio,
                const CpuSeconds& cpu) {
  BenchRow row;
  row.op = op;
  row.state = state;
  row.size_bytes = size_bytes;
  row.depth = depth;
  row.count = times_us.size();
  row.avg_us = mean(times_us);
  row.p50_us = median(times_us);
  row.p99_us = percentile(times_us, 99);
  row.gb_per_s = gb_per_s;
  row.baseline_gb_per_s = baseline;
  row.ratio = ratio;
  const double gb = static_cast<double>(size_bytes) * static_cast<double>(times_us.size()) / 1e9;
  row.cpu_s_per_gb = cpu.both() / gb;
  row.client_cpu_s_per_gb = cpu.client / gb;
  row.server_cpu_s_per_gb = cpu.server / gb;
  return row;
}

// Seconds for the same transfers without GD2FS, into memory of its own: neither of the two finds in
// the cache what the other has just written.
Result<double> small_hit_baseline(Bench& bench, const std::vector<BenchClient::Transfer>& transfers,
                                  uint32_t depth) {
  const auto size_bytes = static_cast<uint32_t>(transfers.front().memory.size());
  const double began = seconds_now();
  if (bench.options.path == "shm") {
    for (const BenchClient::Transfer& each : transfers) {
      std::memcpy(each.memory.data() + kSmallFileBytes, bench.data.bytes().data() + each.offset,
                  size_bytes);
    }
  } else {
    const auto raw =
        bench.sockets.round_trips(size_bytes, depth, static_cast<uint32_t>(transfers.size()));
    if (!raw.has_value()) return fail(raw.error());
  }
  return seconds_now() - began;
}

}  // namespace

Result<BenchRow> small_hit_row(Bench& bench, uint32_t size_bytes, uint32_t depth, uint32_t count) {
  CHECK(bench.memory.bytes().size() >= 2 * kSmallFileBytes);
  GD2FS_ASSIGN(BenchClient client, bench.connect(bench.memory.bytes()));
  const std::string path = bench_file(kSmallFileBytes, 0);
  const uint32_t per_batch = count / kBatches;
  const double batch_gb = static_cast<double>(size_bytes) * per_batch / 1e9;
  std::vector<double> times;
  std::vector<double> rates;
  std::vector<double> baselines;
  std::vector<double> ratios;
  CpuSeconds cpu;
  for (uint32_t batch = 0; batch <= kBatches; ++batch) {
    std::vector<BenchClient::Transfer> transfers;
    for (uint32_t i = 0; i < per_batch; ++i) {
      const uint64_t offset = bench.random.below(kSmallFileBytes / size_bytes) * size_bytes;
      const uint64_t slot = i % (kSmallFileBytes / size_bytes);
      transfers.push_back(
          {false, path, offset, bench.memory.bytes().subspan(slot * size_bytes, size_bytes)});
    }
    // The comparison leaves some of what both are about to touch in the cache, for whoever is
    // first: by turns.
    const bool raw_first = batch % 2 == 0;
    double raw_s = 0;
    if (raw_first) {
      GD2FS_ASSIGN(raw_s, small_hit_baseline(bench, transfers, depth));
    }
    const double began = seconds_now();
    const CpuMeter meter(bench.server.pid());
    GD2FS_ASSIGN(const std::vector<double> ours, client.run(transfers, depth));
    const double ours_s = seconds_now() - began;
    const CpuSeconds used = meter.used();
    if (!raw_first) {
      GD2FS_ASSIGN(raw_s, small_hit_baseline(bench, transfers, depth));
    }
    // Places that a later transfer of the batch wrote again hold that one's bytes.
    const size_t first_kept =
        transfers.size() - std::min<size_t>(transfers.size(), kSmallFileBytes / size_bytes);
    for (size_t i = first_kept; i < transfers.size(); ++i) {
      const std::byte* wanted = bench.data.bytes().data() + transfers[i].offset;
      if (std::memcmp(transfers[i].memory.data(), wanted, size_bytes) != 0) {
        return fail(StatusCode::corrupt, "WRONG BYTES read from " + path);
      }
    }
    if (batch == 0) continue;
    times.insert(times.end(), ours.begin(), ours.end());
    rates.push_back(batch_gb / ours_s);
    baselines.push_back(batch_gb / raw_s);
    // At depth 1 the latencies are compared, which is the same ratio.
    ratios.push_back(raw_s / ours_s);
    cpu += used;
  }
  return row_of("read", "hit", size_bytes, depth, times, median(rates), median(baselines),
                median(ratios), cpu);
}

Result<BenchRow> small_write_row(Bench& bench, uint32_t depth, uint32_t count) {
  GD2FS_ASSIGN(BenchClient client, bench.connect(bench.data.bytes()));
  const std::string path = bench_file(kSmallFileBytes, 1);
  const uint32_t per_batch = count / kBatches;
  const double batch_gb = static_cast<double>(kSmallPageBytes) * per_batch / 1e9;
  std::vector<double> times;
  std::vector<double> rates;
  std::vector<double> baselines;
  std::vector<double> ratios;
  CpuSeconds cpu;
  for (uint32_t batch = 0; batch <= kBatches; ++batch) {
    std::vector<BenchClient::Transfer> transfers;
    for (uint32_t i = 0; i < per_batch; ++i) {
      const uint64_t offset =
          bench.random.below(kSmallFileBytes / kSmallPageBytes) * kSmallPageBytes;
      // Each place gets the bytes it has in `data`, so the file can be checked at the end.
      transfers.push_back(
          {true, path, offset, bench.data.bytes().subspan(offset, kSmallPageBytes)});
    }
    const double began = seconds_now();
    const CpuMeter meter(bench.server.pid());
    GD2FS_ASSIGN(const std::vector<double> ours, client.run(transfers, depth));
    const double ours_s = seconds_now() - began;
    const CpuSeconds used = meter.used();
    double raw_s = 0;
    GD2FS_ASSIGN([[maybe_unused]] const std::vector<double> raw,
                 bench.drive.small_writes(depth, per_batch, &raw_s));
    if (batch == 0) continue;
    times.insert(times.end(), ours.begin(), ours.end());
    rates.push_back(batch_gb / ours_s);
    baselines.push_back(batch_gb / raw_s);
    ratios.push_back(raw_s / ours_s);
    cpu += used;
  }
  GD2FS_TRY(client.use(bench.memory.bytes()));
  const Bytes target = bench.memory.first(kSmallFileBytes);
  GD2FS_ASSIGN([[maybe_unused]] const double seconds, client.run_one({false, path, 0, target}));
  if (std::memcmp(target.data(), bench.data.bytes().data(), kSmallFileBytes) != 0) {
    return fail(StatusCode::corrupt, "WRONG BYTES in " + path + " after small writes");
  }
  BenchRow row = row_of("write", "disk", kSmallPageBytes, depth, times, median(rates),
                        median(baselines), median(ratios), cpu);
  row.note =
      std::to_string(static_cast<uint64_t>(median(rates) * 1e9 / kSmallPageBytes)) + " writes/s";
  return row;
}

Result<std::vector<BenchRow>> kv_cache_rows(Bench& bench, uint32_t clients, uint32_t rounds) {
  struct Worker {
    Status status;
    std::vector<double> write_us;
    std::vector<double> read_us;
  };
  std::vector<Worker> workers(clients);
  std::vector<std::thread> threads;
  threads.reserve(clients);
  const CpuMeter meter(bench.server.pid());
  for (uint32_t number = 0; number < clients; ++number) {
    threads.emplace_back([&bench, &workers, number, rounds] {
      Worker& worker = workers[number];
      const Bytes source = bench.data.bytes().subspan(number * kKvBytes, kKvBytes);
      const Bytes target = bench.memory.bytes().subspan(number * kKvBytes, kKvBytes);
      auto run = [&]() -> Status {
        GD2FS_ASSIGN(BenchClient client,
                     BenchClient::connect(bench.server.address(), BenchServer::kCluster,
                                          bench.options.lanes));
        for (uint32_t round = 0; round <= rounds; ++round) {  // round 0 is dropped
          const std::string path = "/kv-" + std::to_string(number) + "-" + std::to_string(round);
          GD2FS_TRY(client.use(source));
          GD2FS_TRY(client.create(path, kKvBytes));
          GD2FS_ASSIGN(const double wrote, client.run_one({true, path, 0, source}));
          GD2FS_TRY(client.use(target));
          GD2FS_ASSIGN(const double read, client.run_one({false, path, 0, target}));
          if (std::memcmp(source.data(), target.data(), kKvBytes) != 0) {
            return {StatusCode::corrupt, "WRONG BYTES read from " + path};
          }
          GD2FS_TRY(client.unlink(path));
          if (round == 0) continue;
          worker.write_us.push_back(wrote * 1e6);
          worker.read_us.push_back(read * 1e6);
        }
        return {};
      };
      worker.status = run();
    });
  }
  for (std::thread& thread : threads) thread.join();
  const CpuSeconds cpu = meter.used();
  std::vector<double> writes;
  std::vector<double> reads;
  for (const Worker& worker : workers) {
    if (!worker.status.ok()) return fail(worker.status);
    writes.insert(writes.end(), worker.write_us.begin(), worker.write_us.end());
    reads.insert(reads.end(), worker.read_us.begin(), worker.read_us.end());
  }
  // All clients share the machine; the baselines are one transfer of this size alone, so the ratio
  // says how one client of many fares.
  std::vector<double> raw_writes;
  std::vector<double> raw_reads;
  for (uint32_t i = 0; i < 10; ++i) {
    GD2FS_ASSIGN(const double wrote, bench.drive.write(bench.data.first(kKvBytes), i));
    GD2FS_ASSIGN(const double read, bench.hit_baseline(bench.memory.first(kKvBytes)));
    raw_writes.push_back(wrote * 1e6);
    raw_reads.push_back(read * 1e6);
  }
  const auto rate = [](double us) { return static_cast<double>(kKvBytes) / us / 1e3; };
  std::vector<BenchRow> rows = {
      row_of("write", "disk", kKvBytes, clients, writes, rate(median(writes)) * clients,
             rate(median(raw_writes)), median(raw_writes) / median(writes) * clients, cpu),
      row_of("read", "hit", kKvBytes, clients, reads, rate(median(reads)) * clients,
             rate(median(raw_reads)), median(raw_reads) / median(reads) * clients, cpu)};
  for (BenchRow& row : rows)
    row.note = "KV cache: create, write, read back, unlink; cpu is of both";
  return rows;
}

Result<double> creates_per_second(Bench& bench, uint32_t clients, uint32_t count) {
  GD2FS_ASSIGN(BenchClient setup, bench.connect(bench.memory.bytes()));
  GD2FS_TRY(setup.mkdir("/bench-names"));
  std::vector<Status> results(clients);
  std::vector<std::thread> threads;
  threads.reserve(clients);
  std::atomic<uint32_t> ready = 0;
  std::atomic<bool> go = false;
  for (uint32_t number = 0; number < clients; ++number) {
    threads.emplace_back([&, number] {
      auto run = [&]() -> Status {
        Result<BenchClient> client = BenchClient::connect(
            bench.server.address(), BenchServer::kCluster, bench.options.lanes);
        ++ready;
        if (!client) return client.error();
        while (!go) std::this_thread::yield();
        for (uint32_t i = 0; i < count / clients; ++i) {
          GD2FS_TRY(client->create(
              "/bench-names/" + std::to_string(number) + "-" + std::to_string(i), 0));
        }
        return {};
      };
      results[number] = run();
    });
  }
  while (ready < clients) std::this_thread::yield();
  const double began = seconds_now();
  go = true;
  for (std::thread& thread : threads) thread.join();
  for (const Status& status : results) GD2FS_TRY(status);
  return count / (seconds_now() - began);
}

}  // namespace gd2fs
