#include "client/options.h"

#include <algorithm>
#include <charconv>

#include "wire/frame.h"
#include "wire/path.h"

namespace gd2fs::client {
namespace {

constexpr uint32_t kThreadsMax = 1024;
constexpr uint32_t kGpuRingMaxMib = 16 << 10;

std::optional<std::string> text_option(const char* given, const char* variable,
                                       const ClientEnvironment& environment) {
  if (given != nullptr && *given != '\0') return std::string(given);
  auto found = environment.variable(variable);
  if (found && found->empty()) found.reset();
  return found;
}

Result<uint32_t> count_option(uint32_t given, const char* variable, uint32_t most,
                              const ClientEnvironment& environment) {
  if (given != 0) return std::min(given, most);
  const auto text = environment.variable(variable);
  if (!text || text->empty()) return 0u;
  uint32_t count = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), count);
  if (error != std::errc() || end != text->data() + text->size()) {
    return fail(StatusCode::invalid, std::string(variable) + " is not a number: " + *text);
  }
  return std::min(count, most);
}

Result<bool> parse_switch(std::string_view key, std::string_view value) {
  if (value == "on" || value == "1" || value == "true") return true;
  if (value == "off" || value == "0" || value == "false") return false;
  return fail(StatusCode::invalid, std::string(key) + " is on or off, not " + std::string(value));
}

Result<Require> parse_require(std::string_view value) {
  if (value == "none") return Require::none;
  if (value == "shm") return Require::shm;
  if (value == "rdma") return Require::rdma;
  if (value == "gpu_direct") return Require::gpu_direct;
  return fail(StatusCode::invalid, "require is shm, rdma or gpu_direct, not " + std::string(value));
}

// Switches from the environment first, so that the query, applied after, wins.
Status apply_switch(std::string_view key, std::string_view value, ClientOptions* out) {
  if (key == "shm") {
    GD2FS_ASSIGN(out->shm, parse_switch(key, value));
  } else if (key == "require") {
    GD2FS_ASSIGN(out->require, parse_require(value));
  } else if (key == "cluster") {
    out->cluster = value;
  } else {
    return {StatusCode::invalid, "unknown switch in the address: " + std::string(key)};
  }
  return {};
}

Status read_token(const ClientEnvironment& environment, ClientOptions* out) {
  if (auto named = environment.variable("GD2FS_TOKEN_FILE"); named && !named->empty()) {
    out->token_path = *named;
    auto key = environment.token_file(*named);
    if (!key) return key.error().with("GD2FS_TOKEN_FILE");
    out->key = std::move(*key);
    return {};
  }
  std::string base;
  if (auto config = environment.variable("XDG_CONFIG_HOME"); config && !config->empty()) {
    base = *config;
  } else if (auto home = environment.variable("HOME"); home && !home->empty()) {
    base = *home + "/.config";
  } else {
    return {};
  }
  out->token_path = base + "/gd2fs/tokens/" + out->cluster;
  auto key = environment.token_file(out->token_path);
  if (!key && !key.error().is(StatusCode::not_found)) return key.error();
  if (key) out->key = std::move(*key);
  return {};
}

Status check_require(const ClientOptions& options) {
  switch (options.require) {
    case Require::none:
      return {};
    case Require::shm:
    case Require::gpu_direct:  // past the ring, so far only inside one host
      if (options.shm) return {};
      return {StatusCode::invalid, "require=shm or gpu_direct and shm=off exclude each other"};
    case Require::rdma:
      for (const LocalAddress& local : options.locals) {
        if (local.transport == Transport::rdma) continue;
        return {StatusCode::invalid, "require=rdma, and a data address that is not rdma://"};
      }
      return {};
  }
  return {};
}

}  // namespace

Result<ClientOptions> parse_options(const RawOptions& raw, const ClientEnvironment& environment) {
  ClientOptions out;
  for (const auto& [variable, key] :
       {std::pair{"GD2FS_SHM", "shm"}, {"GD2FS_REQUIRE", "require"}}) {
    if (auto value = environment.variable(variable); value && !value->empty()) {
      GD2FS_TRY(apply_switch(key, *value, &out).with(variable));
    }
  }
  const std::string control =
      text_option(raw.cp_address, "GD2FS_CPADDR", environment).value_or("gd2fs://127.0.0.1:7527");
  GD2FS_ASSIGN(ControlAddress address, parse_control_address(control));
  out.controllers = std::move(address.controllers);
  for (const auto& [key, value] : address.query) GD2FS_TRY(apply_switch(key, value, &out));

  const std::string data =
      text_option(raw.dp_address, "GD2FS_DPADDR", environment).value_or("tcp://127.0.0.1");
  GD2FS_ASSIGN(out.locals, parse_data_address(data));

  // The struct's field wins over the query, the query over the environment.
  if (raw.cluster_id != nullptr && *raw.cluster_id != '\0') out.cluster = raw.cluster_id;
  if (out.cluster.empty()) {
    out.cluster =
        text_option(nullptr, "GD2FS_CLUSTER", environment).value_or(std::string(kClusterDefault));
  }
  GD2FS_TRY(check_cluster_name(out.cluster));

  GD2FS_ASSIGN(out.io_threads,
               count_option(raw.iothread_count, "GD2FS_IOTHREADS", kThreadsMax, environment));
  GD2FS_ASSIGN(out.memory_threads,
               count_option(raw.memthread_count, "GD2FS_MEMTHREADS", kThreadsMax, environment));
  GD2FS_ASSIGN(const uint32_t streams,
               count_option(raw.conn_stream_count, "GD2FS_STREAMS", kLanesMax, environment));
  out.lanes = std::max(streams, kLanesDefault);
  GD2FS_ASSIGN(const uint32_t ring_mib,
               count_option(0, "GD2FS_GPU_RING_MIB", kGpuRingMaxMib, environment));
  if (ring_mib != 0) out.gpu_ring_max_bytes = uint64_t{ring_mib} << 20;
  const uint32_t timeout_ms = raw.timeout_ms != 0 ? raw.timeout_ms : kTimeoutDefaultMs;
  out.timeout_ns = std::max(timeout_ms, kTimeoutMinMs) * kMs;
  if (raw.log_level != nullptr && !parse_log_level(raw.log_level, &out.log_level)) {
    return fail(StatusCode::invalid,
                "log_level is info, warn or error, not " + std::string(raw.log_level));
  }
  GD2FS_TRY(check_require(out));
  GD2FS_TRY(read_token(environment, &out));
  return out;
}

}  // namespace gd2fs::client
