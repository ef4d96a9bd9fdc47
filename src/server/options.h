// ServerOptions: everything a data server is told at start, with its named limits. Main() fills it
// from flags and configuration; units are in the names.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "loop/clock.h"
#include "wire/frame.h"

namespace gd2fs::server {

// Steps of at most so many bytes have room of their own, so that one loader's big requests never
// keep a small one waiting.
inline constexpr uint32_t kSmallStepBytes = 64 * 1024;
// A read piece is cut into steps of so many bytes, so that a big chunk's disk reads and pushes
// overlap.
inline constexpr uint32_t kReadStepMaxBytes = 4 << 20;
// The last ones of a long request, of which clients say what follows, are smaller: only one of them
// is left to be checked and sent when the drive has read all.
inline constexpr uint32_t kTaperBytes = 4 << 20;  // so much at its end
inline constexpr uint32_t kTaperStepBytes = 1 << 20;

struct ServerOptions {
  uint32_t server_id = 1;         // this data's name in the deployment: kept across restarts
  uint64_t incarnation = 0;       // new at every start, never 0
  uint64_t deployment_id = 0;     // of the store; the controller's must be the same
  std::string deployment_secret;  // proves membership to the controller
  bool insecure = false;          // no proofs asked of clients; said loudly by whoever sets it

  std::vector<std::string> controllers;  // "tcp://host:7527", tried in turn
  std::vector<std::string> listen;       // "tcp://0.0.0.0:7528"
  // Where a port of `listen` cannot be had, any other of the same host will do: nobody chose it,
  // and clients learn the addresses from the controller.
  bool any_port = false;
  // What clients are told to connect to; empty: the listeners' addresses as bound.
  std::vector<std::string> advertise;

  // Where clients on this host find us for shared memory (ListenOptions); empty: not at all.
  std::string same_host_directory;

  uint32_t sessions_max = 4096;                  // clients; the next one is refused with busy
  uint32_t session_requests_max = kRequestsMax;  // unanswered on one session; over it: busy
  uint32_t read_ops_max = 4096;                  // requests being served; over it: busy
  uint32_t write_ops_max = 2048;
  uint32_t flush_ops_max = 256;
  uint32_t prefetch_ops_max = 256;
  uint32_t small_steps_max = 1024;  // in each direction, of kSmallStepBytes
  uint32_t big_steps_max = 256;     // in each direction
  // Slab pages held by big steps. Both together should stay below half the slab.
  uint64_t read_bytes_max = 256 * kMiB;
  uint64_t write_bytes_max = 256 * kMiB;
  // Of these, by one session: what a client of our own has under way (Peer's credit).
  uint64_t session_read_bytes_max = 64 * kMiB;
  uint64_t session_write_bytes_max = 128 * kMiB;
  uint32_t session_handles_max = 16384;     // the longest unused is forgotten
  uint64_t busy_patience_ns = 1 * kSecond;  // a step waits so long for room in the slab
  uint64_t busy_retry_ns = 1 * kMs;
  uint64_t stall_ns = 20 * kSecond;  // a session that holds pages and moves nothing is closed

  uint64_t heartbeat_ns = 1 * kSecond;
  uint64_t call_timeout_ns = 2 * kSecond;    // for a controller's answer
  uint64_t register_wait_min_ns = 50 * kMs;  // doubles up to the maximum, with jitter
  uint64_t register_wait_max_ns = 2 * kSecond;
  uint32_t controller_requests_max = 256;  // being served at once; over it: busy
};

}  // namespace gd2fs::server
