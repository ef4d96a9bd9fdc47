// ControllerOptions: everything a controller is told at start, with its named limits. Main() fills
// it from flags and configuration; units are in the names.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "loop/clock.h"
#include "wire/frame.h"

namespace gd2fs::controller {

struct ControllerOptions {
  std::vector<std::string> listen;  // "tcp://0.0.0.0:7527"
  uint64_t incarnation = 0;         // new at every start, never 0
  uint64_t deployment_id = 0;       // of the MetaStore; servers of another are refused
  std::string deployment_secret;    // proves servers and administrators, and us to them
  bool insecure = false;            // no proofs asked; said loudly by whoever sets it
  std::string version;              // for the deployment's status
  // Fills with secret random bytes: secure_random() of wire/token.h; a seeded stream in a
  // simulation.
  std::function<void(Bytes)> make_secret;

  uint32_t sessions_max = 8192;                  // the next one is refused with busy
  uint32_t session_requests_max = kRequestsMax;  // being served, of one session; over it: busy
  uint32_t requests_max = 16384;                 // being served, of all; over it: busy
  uint32_t clusters_max = 2048;                  // all their keys go to a server in one message
  uint64_t held_wait_ns = 1 * kSecond;           // for a name that an open intent holds; then busy

  uint64_t lease_ns = 5 * kSecond;         // of a data server
  uint64_t lease_margin_ns = kSecond / 4;  // beyond it, for clocks that do not run alike
  uint64_t call_timeout_ns = 2 * kSecond;  // for a server's answer
  // A server that does not make a fence durable for so long must register again; until then its
  // lease is not renewed.
  uint64_t fence_patience_ns = 10 * kSecond;

  uint64_t capability_ttl_ns = 300 * kSecond;        // <= kCapabilityTtlMaxUs
  uint64_t capability_key_life_ns = 3600 * kSecond;  // then a new one; the old is good for as long
  uint64_t tidy_ns = 5 * kSecond;                    // between looks for leftovers
  uint64_t client_forget_ns = 24 * 3600 * kSecond;   // tags of clients silent for so long
};

}  // namespace gd2fs::controller
