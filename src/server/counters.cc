#include "server/counters.h"

namespace gd2fs::server {

std::vector<NamedValue> export_counters(const ServerCounters& counters, const StoreStats& store,
                                        bool leased) {
  const auto number = [](uint64_t value) { return static_cast<double>(value); };
  return {
      {"gd2fs_server_leased", leased ? 1.0 : 0.0},
      {"gd2fs_server_sessions", number(counters.sessions)},
      {"gd2fs_server_sessions_shm", number(counters.sessions_shm)},
      {"gd2fs_server_sessions_rdma", number(counters.sessions_rdma)},
      {"gd2fs_server_sessions_total", number(counters.sessions_total)},
      {"gd2fs_server_sessions_stalled_total", number(counters.sessions_stalled_total)},
      {"gd2fs_server_requests", number(counters.requests)},
      {"gd2fs_server_read_requests_total", number(counters.read_requests_total)},
      {"gd2fs_server_read_bytes_total", number(counters.read_bytes_total)},
      {"gd2fs_server_read_hit_bytes_total", number(counters.read_hit_bytes_total)},
      {"gd2fs_server_read_miss_bytes_total", number(counters.read_miss_bytes_total)},
      {"gd2fs_server_read_errors_total", number(counters.read_errors_total)},
      {"gd2fs_server_write_requests_total", number(counters.write_requests_total)},
      {"gd2fs_server_write_bytes_total", number(counters.write_bytes_total)},
      {"gd2fs_server_write_replays_total", number(counters.write_replays_total)},
      {"gd2fs_server_write_errors_total", number(counters.write_errors_total)},
      {"gd2fs_server_stale_total", number(counters.stale_total)},
      {"gd2fs_server_busy_total", number(counters.busy_total)},
      {"gd2fs_server_unleased_total", number(counters.unleased_total)},
      {"gd2fs_server_malformed_total", number(counters.malformed_total)},
      {"gd2fs_server_fences_total", number(counters.fences_total)},
      {"gd2fs_server_registrations_total", number(counters.registrations_total)},
      {"gd2fs_server_heartbeats_total", number(counters.heartbeats_total)},
      {"gd2fs_store_chunks", number(store.chunks)},
      {"gd2fs_store_extents", number(store.extents)},
      {"gd2fs_store_used_bytes", number(store.used_bytes)},
      {"gd2fs_store_total_bytes", number(store.total_bytes)},
      {"gd2fs_store_free_bytes", number(store.free_bytes)},
      {"gd2fs_store_slab_bytes", number(store.slab_bytes)},
      {"gd2fs_store_slab_used_bytes", number(store.slab_used_bytes)},
      {"gd2fs_store_slab_pinned_bytes", number(store.slab_pinned_bytes)},
      {"gd2fs_store_slab_dirty_bytes", number(store.slab_dirty_bytes)},
      {"gd2fs_store_slab_stranded_bytes", number(store.slab_stranded_bytes)},
      {"gd2fs_store_read_hits_total", number(store.read_hits)},
      {"gd2fs_store_read_misses_total", number(store.read_misses)},
      {"gd2fs_store_disk_read_bytes_total", number(store.disk_read_bytes)},
      {"gd2fs_store_disk_write_bytes_total", number(store.disk_write_bytes)},
      {"gd2fs_store_commits_total", number(store.commits)},
      {"gd2fs_store_committed_writes_total", number(store.committed_writes)},
      {"gd2fs_store_corrupt_blocks_total", number(store.corrupt_blocks)},
      {"gd2fs_store_pages_held", number(store.pages_held)},
      {"gd2fs_store_drives", number(store.drives)},
      {"gd2fs_store_drives_set_aside", number(store.drives_set_aside)},
      {"gd2fs_store_drives_missing", number(store.drives_missing)},
  };
}

}  // namespace gd2fs::server
