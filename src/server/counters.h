// ServerCounters: what one data server has done since it started; plain numbers of its loop. The
// names under which they leave the process are in export_counters(); base units, `_total` for what
// only grows, as Prometheus wants them.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "store/store.h"

namespace gd2fs::server {

struct ServerCounters {
  uint64_t sessions = 0;       // open now
  uint64_t sessions_shm = 0;   // of these, through shared memory
  uint64_t sessions_rdma = 0;  // of these, by RDMA
  uint64_t sessions_total = 0;
  uint64_t sessions_stalled_total = 0;
  uint64_t requests = 0;  // being served now
  uint64_t read_requests_total = 0;
  uint64_t read_bytes_total = 0;  // pushed, without holes
  uint64_t read_hit_bytes_total = 0;
  uint64_t read_miss_bytes_total = 0;
  uint64_t read_errors_total = 0;
  uint64_t write_requests_total = 0;
  uint64_t write_bytes_total = 0;  // made durable
  uint64_t write_replays_total = 0;
  uint64_t write_errors_total = 0;
  uint64_t stale_total = 0;      // requests refused for an old generation, epoch or handle
  uint64_t busy_total = 0;       // requests refused at a limit
  uint64_t unleased_total = 0;   // requests refused for want of a lease
  uint64_t malformed_total = 0;  // messages that were none
  uint64_t fences_total = 0;
  uint64_t registrations_total = 0;
  uint64_t heartbeats_total = 0;
};

using NamedValue = std::pair<std::string_view, double>;
std::vector<NamedValue> export_counters(const ServerCounters& counters, const StoreStats& store,
                                        bool leased);

}  // namespace gd2fs::server
