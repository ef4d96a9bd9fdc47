// Config: every setting of the `gd2fs` program, filled from the defaults, a TOML file, the
// environment and the command line, in rising order of precedence.
//
// settings() is the one table: key, kind, default, environment variable and a sentence for each.
// `config print`, `config check`, docs/config.md and the parser are made from it, so that a setting
// cannot exist in one and not in another. Unknown keys, wrong kinds and bad values are errors that
// name the file and line. Files are read by the caller; load_* are pure and are fuzzed.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "loop/clock.h"

namespace gd2fs::cli {

inline constexpr size_t kConfigFileMaxBytes = 1 << 20;
inline constexpr size_t kConfigListMax = 64;  // values of one list setting
inline constexpr std::string_view kClusterDefault = "gd2fs-cluster0";
inline constexpr uint16_t kPortDefault = 7527;
inline constexpr uint16_t kRdmaPortDefault = 7529;  // of a data server's rdma:// listeners

struct Config {
  // --- processes ---
  std::string data;
  std::string listen = "127.0.0.1:7527";
  std::string cluster = std::string(kClusterDefault);
  std::vector<std::string> drives;
  uint64_t slab_bytes = 0;
  bool insecure = false;
  std::string metrics_listen;
  std::string secret_file;
  std::string log_level = "info";
  uint64_t quota_bytes = 0;
  uint64_t chunk_bytes = 4 * kMiB;

  // --- server ---
  std::string server_listen;
  std::vector<std::string> server_advertise;
  std::vector<std::string> server_controllers;
  uint64_t server_id = 1;
  bool server_shm = true;
  std::string server_shm_directory;
  uint64_t server_sessions_max = 4096;
  uint64_t server_session_requests_max = 1024;
  uint64_t server_read_ops_max = 4096;
  uint64_t server_write_ops_max = 2048;
  uint64_t server_read_bytes_max = 256 * kMiB;
  uint64_t server_write_bytes_max = 256 * kMiB;
  uint64_t server_stall_ns = 20 * kSecond;
  uint64_t server_heartbeat_ns = 1 * kSecond;

  // --- store ---
  std::string disk_engine = "automatic";
  uint64_t store_arena_bytes = 0;
  uint64_t store_data_file_bytes = 1 * kGiB;
  uint64_t store_reserve_bytes = 64 * kMiB;
  uint64_t store_deadline_ns = 10 * kSecond;
  uint64_t store_window_bytes = 8 * kMiB;
  uint64_t store_commit_delay_ns = 0;
  bool store_rebuild = false;
  std::vector<std::string> store_forget_drives;
  uint64_t scrub_interval_ns = 7 * 24 * 3600 * kSecond;
  uint64_t scrub_rate_bytes = 64 * kMiB;

  // --- controller ---
  uint64_t controller_lease_ns = 5 * kSecond;
  uint64_t controller_capability_ns = 600 * kSecond;
  uint64_t controller_sessions_max = 4096;

  // --- client ---
  std::string client_cp = "gd2fs://127.0.0.1:7527";
  std::string client_dp = "tcp://127.0.0.1";
  std::string client_token_file;
  uint64_t client_streams = 0;
  uint64_t client_timeout_ns = 30 * kSecond;
  uint64_t copy_files = 4;
  uint64_t copy_buffer_bytes = 4 * kMiB;
  uint64_t copy_buffers = 8;
};

enum class SettingKind : uint8_t { text, list, count, size, duration, toggle };

using SettingField = std::variant<std::string Config::*, std::vector<std::string> Config::*,
                                  uint64_t Config::*, bool Config::*>;

struct Setting {
  std::string_view key;  // as in the file: "server.listen"
  SettingKind kind;
  SettingField field;
  std::string_view environment;  // the variable, "" if the one made from the key is used
  std::string_view sentence;
  uint64_t min = 0;  // of counts, sizes and durations
  uint64_t max = UINT64_MAX;
  std::string_view words;  // allowed texts, separated by '|'; "" = any
};

std::span<const Setting> settings();
const Setting* find_setting(std::string_view key);
// "GD2FS_SERVER_LISTEN" for "server.listen", unless the table names another.
std::string environment_name(const Setting& setting);
std::string_view setting_kind_name(SettingKind kind);  // "size", ...
// The value as the file would have it: "4MiB", "true", "[\"a\", \"b\"]", "\"text\"".
std::string setting_value(const Setting& setting, const Config& config);

// Where each value that is not a default came from, by key: "gd2fs.toml:12", "GD2FS_CLUSTER",
// "--cluster".
using ConfigOrigins = std::map<std::string, std::string, std::less<>>;

struct LoadedConfig {
  Config config;
  ConfigOrigins origins;
};

// Each later call overrides what the earlier ones set. invalid, with the place, the key and what
// would be right.
Status load_config_text(std::string_view toml, std::string_view file_name, LoadedConfig* loaded);
using VariableLookup = std::function<std::optional<std::string>(const std::string& name)>;
Status load_config_environment(const VariableLookup& variable, LoadedConfig* loaded);
// `text` as written behind --set KEY=; list values are separated by commas.
Status set_config(std::string_view key, std::string_view text, std::string_view origin,
                  LoadedConfig* loaded);
// The rules that concern more than one setting; after all was loaded.
Status check_config(const Config& config);

}  // namespace gd2fs::cli
