// The table of settings. A sentence says what the setting does, not what its name says again.
#include "cli/config.h"
#include "cli/units.h"

namespace gd2fs::cli {
namespace {

using enum SettingKind;
constexpr uint64_t kU32 = UINT32_MAX;

const Setting kSettings[] = {
    // Processes.
    {"data", text, &Config::data, "",
     "Directory of the deployment: names, secrets and, unless drives are given, chunks"},
    {"listen", text, &Config::listen, "",
     "HOST:PORT of the controller; port 0 takes a free one, and the ready line says which"},
    {"cluster", text, &Config::cluster, "GD2FS_CLUSTER",
     "Named cluster that `up` creates and that the other commands work on"},
    {"drives", list, &Config::drives, "",
     "Directories that keep chunks, one per physical drive; none: DATA/drive"},
    {"slab", size, &Config::slab_bytes, "",
     "DRAM for the cache of chunks; 0 takes a quarter of the machine's memory", 0, 64ULL << 40},
    {"insecure", toggle, &Config::insecure, "",
     "Accept anybody without a token; for experiments on a closed network only"},
    {"metrics", text, &Config::metrics_listen, "",
     "HOST:PORT of /metrics and /health; empty turns them off"},
    {"secret_file", text, &Config::secret_file, "GD2FS_SECRET_FILE",
     "File with the deployment's secret; empty takes DATA/secret, then ~/.config/gd2fs/secret"},
    {"log_level", text, &Config::log_level, "", "Least level that is logged to standard error", 0,
     UINT64_MAX, "debug|info|warn|error|off"},
    {"quota", size, &Config::quota_bytes, "",
     "Quota of a cluster when it is created; 0 is no quota"},
    {"chunk", size, &Config::chunk_bytes, "",
     "Chunk size of a cluster when it is created, a power of two", 64 * kKiB, 64 * kMiB},
    // Server.
    {"server.listen", text, &Config::server_listen, "",
     "HOST:PORT, rdma://HOST:PORT, ... of the data server; no TCP: the controller's host, its port "
     "+ 1"},
    {"server.advertise", list, &Config::server_advertise, "",
     "Addresses that clients are told to connect to (tcp://, rdma://HOST:PORT); none: as bound"},
    {"server.controllers", list, &Config::server_controllers, "",
     "Controllers that a `gd2fs server` registers with (HOST:PORT)"},
    {"server.id", count, &Config::server_id, "",
     "Number of this data server in the deployment; stays with its drives", 1, kU32},
    {"server.shm", toggle, &Config::server_shm, "",
     "Whether clients on this host may use shared memory instead of TCP"},
    {"server.shm_directory", text, &Config::server_shm_directory, "",
     "Where they find the server's socket; empty: /run/gd2fs-DEPLOYMENT-ID, or /tmp"},
    {"server.sessions_max", count, &Config::server_sessions_max, "",
     "Clients connected at one time; the next one is refused", 1, 1 << 20},
    {"server.session_requests_max", count, &Config::server_session_requests_max, "",
     "Unanswered requests of one client; over it the answer is busy", 1, 1024},
    {"server.read_ops_max", count, &Config::server_read_ops_max, "",
     "Reads served at one time; over it the answer is busy", 1, 1 << 20},
    {"server.write_ops_max", count, &Config::server_write_ops_max, "",
     "Writes served at one time; over it the answer is busy", 1, 1 << 20},
    {"server.read_bytes_max", size, &Config::server_read_bytes_max, "",
     "Slab that reads on their way to clients may hold", 8 * kMiB, 1ULL << 40},
    {"server.write_bytes_max", size, &Config::server_write_bytes_max, "",
     "Slab that writes not yet durable may hold", 8 * kMiB, 1ULL << 40},
    {"server.stall", duration, &Config::server_stall_ns, "",
     "A client that holds pages and moves nothing for so long is disconnected", kSecond,
     3600 * kSecond},
    {"server.heartbeat", duration, &Config::server_heartbeat_ns, "",
     "How often the server renews its lease", 10 * kMs, 60 * kSecond},
    // Store.
    {"disk.engine", text, &Config::disk_engine, "",
     "How drives are driven; automatic is io_uring where the kernel allows it", 0, UINT64_MAX,
     "automatic|io_uring|threads"},
    {"store.arena", size, &Config::store_arena_bytes, "",
     "Piece in which the slab is allocated; 0 takes 1GiB, less for a small slab", 0, kGiB},
    {"store.data_file", size, &Config::store_data_file_bytes, "",
     "Piece in which drive space is preallocated", 16 * kMiB, 64 * kGiB},
    {"store.reserve", size, &Config::store_reserve_bytes, "",
     "Space on each drive that is kept free for the index", 4 * kMiB, kGiB * 1024},
    {"store.deadline", duration, &Config::store_deadline_ns, "",
     "A drive that does not answer for so long is set aside", 100 * kMs, 600 * kSecond},
    {"store.window", size, &Config::store_window_bytes, "",
     "Bytes of large transfers that a drive works on at one time (writes: twice that); more for "
     "one "
     "that is far away",
     kMiB, kGiB},
    {"store.commit_delay", duration, &Config::store_commit_delay_ns, "",
     "Extra wait that gathers more writes into one commit", 0, 100 * kMs},
    {"store.rebuild", toggle, &Config::store_rebuild, "",
     "Build the index anew from the data at start, even if there is one"},
    {"store.forget_drives", list, &Config::store_forget_drives, "",
     "Missing drives that will not come back, by the 32 hex digits that the log names them by; "
     "what "
     "they had is lost"},
    {"scrub.interval", duration, &Config::scrub_interval_ns, "",
     "How often all data are checked in the background; 0 turns it off"},
    {"scrub.rate", size, &Config::scrub_rate_bytes, "",
     "Bytes per second that the background check reads at most; 0 is no limit"},
    // Controller.
    {"controller.lease", duration, &Config::controller_lease_ns, "",
     "How long a data server may serve after its last heartbeat", 500 * kMs, 60 * kSecond},
    {"controller.capability", duration, &Config::controller_capability_ns, "",
     "How long a client may use a file before it asks again", kSecond, 600 * kSecond},
    {"controller.sessions_max", count, &Config::controller_sessions_max, "",
     "Clients connected at one time; the next one is refused", 1, 1 << 20},
    // Client.
    {"client.cp", text, &Config::client_cp, "GD2FS_CPADDR",
     "Controllers to connect to: gd2fs://HOST:PORT, several separated by commas"},
    {"client.dp", text, &Config::client_dp, "GD2FS_DPADDR",
     "Local addresses and transport for data: tcp://IP; a loopback address means any"},
    {"client.token_file", text, &Config::client_token_file, "GD2FS_TOKEN_FILE",
     "File with the cluster's token; empty takes ~/.config/gd2fs/tokens/CLUSTER"},
    {"client.streams", count, &Config::client_streams, "GD2FS_STREAMS",
     "TCP connections per server at least; 0 lets the library choose", 0, 16},
    {"client.timeout", duration, &Config::client_timeout_ns, "",
     "A request that makes no progress for so long fails", 10 * kMs, 24 * 3600 * kSecond},
    {"copy.files", count, &Config::copy_files, "",
     "Files that put, get and verify work on at one time", 1, 64},
    {"copy.buffer", size, &Config::copy_buffer_bytes, "",
     "Bytes per request of put, get and verify", 64 * kKiB, 64 * kMiB},
    {"copy.buffers", count, &Config::copy_buffers, "",
     "Requests in flight per file of put, get and verify", 1, 256},
};

}  // namespace

std::span<const Setting> settings() {
  return kSettings;
}

const Setting* find_setting(std::string_view key) {
  for (const Setting& setting : kSettings) {
    if (setting.key == key) return &setting;
  }
  return nullptr;
}

std::string environment_name(const Setting& setting) {
  if (!setting.environment.empty()) return std::string(setting.environment);
  std::string name = "GD2FS_";
  for (char c : setting.key) {
    name += c == '.' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  }
  return name;
}

std::string_view setting_kind_name(SettingKind kind) {
  switch (kind) {
    case text:
      return "text";
    case list:
      return "list";
    case count:
      return "count";
    case size:
      return "size";
    case duration:
      return "duration";
    case toggle:
      return "true/false";
  }
  return "";
}

}  // namespace gd2fs::cli
