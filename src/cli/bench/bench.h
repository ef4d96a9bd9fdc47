// `gd2fs bench`: how fast this deployment is, beside what the machine can do at all.
//
// Each row alternates samples of GD2FS with samples of its baseline (for what travels, raw sockets
// with the same lanes and sizes, or, through shared memory, the best memcpy of one or two threads;
// O_DIRECT of the same drive for what touches the drive), so that noise hits both; the ratio is the
// median of the samples' ratios. Large transfers take theirs in passes over all sizes. Data are
// random, buffers are pre-faulted, the first sample (of a pass) is dropped, and every byte read is
// compared with what was written. Runs over the C ABI, as an application does.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace gd2fs {

struct BenchOptions {
  std::string path = "shm";  // how the client reaches the server: shm, tcp
  // The program to start as `gd2fs up` on a fresh folder. Misses are made by restarting it, so the
  // bench always runs a server of its own.
  std::string program;
  std::string folder;       // on the drive to measure; a fresh sub-folder is made and removed
  uint64_t slab_bytes = 0;  // 0: what the largest size needs
  uint32_t lanes = 1;       // streams asked for, and those of the raw socket baseline
  // Which rows: of "write", "miss" and "hit" (which read the files of "write", so that those rows
  // come too), "memory", "small", "kv", "create"; empty: all.
  std::vector<std::string> rows;
  std::string device_name = "cpu";  // where the application's memory lies: "cpu", "cuda:0", ...
  int device = -1;                  // the same as a number; -1: host memory
  bool quick = false;               // small sizes and few samples, to see that all works
  bool json = false;                // a list of rows on stdout, nothing else
  uint64_t seed = 0;                // of the data; 0: from the kernel
};

struct BenchRow {
  std::string path = "tcp";
  std::string op;     // read, write
  std::string state;  // hit, miss, disk, memory
  uint64_t size_bytes = 0;
  uint32_t depth = 1;
  uint64_t count = 0;  // samples, or requests for small ones
  double avg_us = 0;
  double p50_us = 0;
  double p99_us = 0;
  double gb_per_s = 0;  // 10^9 bytes
  double baseline_gb_per_s = 0;
  double ratio = 0;
  double cpu_s_per_gb = 0;  // of client and server together
  // For people; not in the JSON.
  double client_cpu_s_per_gb = 0;
  double server_cpu_s_per_gb = 0;
  std::string note;
};

// Prints the rows; the exit code of the verb.
int run_bench(const BenchOptions& options);

std::string bench_rows_json(const std::vector<BenchRow>& rows);
std::string bench_rows_table(const std::vector<BenchRow>& rows);

}  // namespace gd2fs
