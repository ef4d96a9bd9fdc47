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

namespace gd2fs {

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

// Large transfers of one request each. Reads compare every byte with `data`.
Result<BenchRow> large_write_row(Bench& bench, uint64_t size_bytes, uint32_t samples);
// Writes that are acknowledged when readers see them; each is durable before the next begins.
Result<BenchRow> large_memory_write_row(Bench& bench, uint64_t size_bytes, uint32_t samples);
Result<BenchRow> large_miss_row(Bench& bench, uint64_t size_bytes, uint32_t samples);
Result<BenchRow> large_hit_row(Bench& bench, uint64_t size_bytes, uint32_t samples);
// Small reads of a hit at random places of one file.
Result<BenchRow> small_hit_row(Bench& bench, uint32_t size_bytes, uint32_t depth, uint32_t count);
// Random 4 KiB writes, each durable.
Result<BenchRow> small_write_row(Bench& bench, uint32_t depth, uint32_t count);
// A KV cache: `clients` at once create, write 2 MiB, read back and unlink; a row for each transfer.
Result<std::vector<BenchRow>> kv_cache_rows(Bench& bench, uint32_t clients, uint32_t rounds);
// Durable creates per second of `clients` at depth 1 each.
Result<double> creates_per_second(Bench& bench, uint32_t clients, uint32_t count);

// Which file a row of this size uses; written by large_write_row.
std::string bench_file(uint64_t size_bytes, uint32_t number);

}  // namespace gd2fs
