// ClientOptions: everything a client is told at start, from the caller's struct, the query of its
// address, the environment and the defaults, in that order of precedence.
//
// The environment and files are read through ClientEnvironment, so that tests say what is there.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/status.h"
#include "client/address.h"
#include "loop/clock.h"

namespace gd2fs::client {

enum class Require : uint8_t { none, shm, rdma, gpu_direct };

struct ClientOptions {
  std::vector<std::string> controllers;  // "tcp://host:port"
  std::vector<LocalAddress> locals;      // at least one; each becomes a rail
  std::string cluster;
  std::string key;         // of the token; empty: none found, only an --insecure cluster lets us in
  std::string token_path;  // where it was looked for, for messages
  uint32_t io_threads = 0;  // asked for; floors
  uint32_t memory_threads = 0;
  uint32_t lanes = 0;  // per rail, ready to use
  uint64_t timeout_ns = 0;
  LogLevel log_level = LogLevel::warn;
  bool shm = true;
  uint64_t gpu_ring_max_bytes = 256 << 20;  // of pinned host memory, per GPU that is used
  Require require = Require::none;
};

inline constexpr uint32_t kLanesDefault = 2;
inline constexpr uint32_t kTimeoutDefaultMs = 30'000;
inline constexpr uint32_t kTimeoutMinMs = 10;
inline constexpr std::string_view kClusterDefault = "gd2fs-cluster0";

// As the caller gave it; nullptr and 0 are "not given".
struct RawOptions {
  const char* cp_address = nullptr;
  const char* dp_address = nullptr;
  const char* cluster_id = nullptr;
  uint32_t iothread_count = 0;
  uint32_t memthread_count = 0;
  uint32_t conn_stream_count = 0;
  uint32_t timeout_ms = 0;
  const char* log_level = nullptr;
};

struct ClientEnvironment {
  std::function<std::optional<std::string>(const char* name)> variable;
  // The key in it, as read_token_file() answers.
  std::function<Result<std::string>(const std::string& path)> token_file;
};
ClientEnvironment process_environment();

// invalid: something could not be understood; unsupported: `require` names what this version lacks;
// denied: the token file may not be used.
Result<ClientOptions> parse_options(const RawOptions& raw, const ClientEnvironment& environment);

}  // namespace gd2fs::client
