// The rows of a bench, a function each. Every function measures its baseline between its own
// samples.
#pragma once

#include "base/random.h"
#include "cli/bench/bench.h"
#include "cli/bench/bench_client.h"
#include "cli/bench/bench_server.h"
#include "cli/bench/raw_drive.h"
#include "cli/bench/raw_memory.h"
#include "cli/bench/raw_sockets.h"
#include "cli/bench/samples.h"

namespace gd2fs {

// The file that small transfers read; what they read lands in so much of `memory`, and what their
// baseline copies in as much behind it.
inline constexpr uint64_t kSmallFileBytes = 64 * kMiB;

struct Bench {
  const BenchOptions& options;
  BenchServer& server;
  RawSockets& sockets;
  RawDrive& drive;
  BenchBuffer& data;    // the random bytes that files hold
  BenchBuffer& memory;  // where reads land, where writes come from
  Random random;

  Result<BenchClient> connect(Bytes registered, const char* cluster = BenchServer::kCluster);
  // Seconds to bring so many bytes of `data` into `target` without GD2FS.
  Result<double> hit_baseline(Bytes target);
};

// What one row gathers: pairs of samples, ours and the baseline's.
struct Pairs {
  std::vector<double> ours_us;
  std::vector<double> baseline_us;
  std::vector<double> ratios;
  CpuSeconds cpu;
  void add(double ours_s, double baseline_s, const CpuSeconds& used);
  BenchRow row(uint64_t size_bytes, const char* op, const char* state) const;
};

// Large transfers of one size, one request each, whose rows gather their samples in passes: between
// those of one row lie those of all others, so that a median is of the whole run and not of the
// seconds in which the machine was fast or slow. Each call takes so many samples; the one before
// them is dropped. Reads compare every byte with `data`.
class LargeTransfers {
 public:
  LargeTransfers(uint64_t size_bytes, uint32_t samples)
      : size_bytes_(size_bytes), samples_(samples) {}
  Status write(Bench& bench);  // into files of their own
  // The files of the last write(), each of which is a miss: the server has just started.
  Status read_cold(Bench& bench);
  Status read_hot(Bench& bench);
  // Acknowledged when readers see them; each is durable before the next begins. Needs the cluster
  // of durability memory.
  Status write_memory(Bench& bench);
  BenchRow write_row() const;
  BenchRow miss_row() const;
  BenchRow hit_row() const;
  BenchRow memory_write_row() const;

 private:
  uint64_t size_bytes_;
  uint32_t samples_;
  uint32_t files_ = 0;       // written so far
  uint32_t first_file_ = 0;  // of the last pass
  Pairs writes_;
  Pairs misses_;
  Pairs hits_;
  Pairs memory_writes_;
};

// Small reads of a hit at random places of one file.
Result<BenchRow> small_hit_row(Bench& bench, uint32_t size_bytes, uint32_t depth, uint32_t count);
// Random 4 KiB writes, each durable.
Result<BenchRow> small_write_row(Bench& bench, uint32_t depth, uint32_t count);
// A KV cache: `clients` at once create, write 2 MiB, read back and unlink; a row for each transfer.
Result<std::vector<BenchRow>> kv_cache_rows(Bench& bench, uint32_t clients, uint32_t rounds);
// Durable creates per second of `clients` at depth 1 each.
Result<double> creates_per_second(Bench& bench, uint32_t clients, uint32_t count);

// Which file a row of this size uses; written by LargeTransfers.
std::string bench_file(uint64_t size_bytes, uint32_t number);

}  // namespace gd2fs
