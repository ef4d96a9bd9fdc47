// Auth: how two processes prove to each other that they hold the same key, before anything else is
// said (docs/protocol.md, "Connections"). The messages are Hello, Challenge, Proof, Welcome.
//
// Both proofs are HMAC-SHA256 with the key over a label and the transcript: every field of Hello
// and Challenge in a fixed order, both nonces (32 fresh random bytes each) among them, so that
// nothing that was said before can be said again to somebody else or at another time. The server
// proves itself first. While a key is being rotated the server sends a proof per valid key, current
// first.
//
// A further lane of a session is proved with the session's own key, which is derived from the first
// lane's transcript: who merely holds the cluster's token cannot join a session of somebody else.
//
// No sockets here: bytes in, bytes out, for every fabric and for the fuzzer. Any thread.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"

namespace gd2fs {

inline constexpr size_t kNonceBytes = 32;
inline constexpr size_t kProofBytes = 32;
inline constexpr size_t kProofsMax = 4;  // in one Challenge
inline constexpr size_t kClusterNameMaxBytes = 255;
inline constexpr size_t kHandshakeBodyMaxBytes = 2048;
inline constexpr size_t kBootIdMaxBytes = 64;
inline constexpr uint8_t kRolesCount = 4;  // msg::Role

using Nonce = std::array<std::byte, kNonceBytes>;
using MacBytes = std::array<std::byte, kProofBytes>;

// What the connecting side says of itself.
struct HelloFacts {
  uint8_t version_min = 0;
  uint8_t version_max = 0;
  uint8_t role = 0;
  std::string cluster;
  uint64_t incarnation = 0;
  uint64_t session = 0;  // 0 opens one; else this is a further lane of it
  uint16_t lane = 0;
  uint16_t lanes = 1;
  Nonce nonce{};
  std::string boot_id;  // a hint, not signed: the client would like shared memory
};

// What the listening side says of itself.
struct ChallengeFacts {
  uint8_t version = 0;
  uint32_t server_id = 0;
  uint64_t incarnation = 0;
  uint64_t deployment_id = 0;
  Nonce nonce{};
};

// The bytes that both sides sign; frozen by golden values.
std::vector<std::byte> handshake_transcript(const HelloFacts& hello,
                                            const ChallengeFacts& challenge);
MacBytes handshake_mac(std::string_view key, std::string_view label, ConstBytes transcript);

class ClientHandshake {
 public:
  // Fills in versions and nonce. `insecure` takes any server's word; the server then decides
  // whether it takes ours.
  ClientHandshake(HelloFacts hello, std::string key, bool insecure);

  std::vector<std::byte> hello_body() const;
  // The body of Proof. denied: the server does not hold our key; unsupported: its version.
  Result<std::vector<std::byte>> on_challenge(ConstBytes challenge_body);
  const ChallengeFacts& server() const { return challenge_; }
  // For the hellos of further lanes; after on_challenge.
  const std::string& session_key() const { return session_key_; }

 private:
  HelloFacts hello_;
  std::string key_;
  bool insecure_;
  ChallengeFacts challenge_;
  std::string session_key_;
};

class ServerHandshake {
 public:
  // `facts`: version and nonce are filled in.
  ServerHandshake(ChallengeFacts facts, bool insecure);

  // The keys that are valid for this hello, current first; empty: nobody may. For a further lane
  // that is the session's key.
  using Keys = std::function<std::vector<std::string>(const HelloFacts& hello)>;
  // The body of Challenge. invalid: malformed; unsupported: no common version. When there is no
  // valid key the challenge is one that nobody can meet, so that a stranger cannot ask for names.
  Result<std::vector<std::byte>> on_hello(ConstBytes hello_body, const Keys& keys);
  // ok: the client has proved itself. denied otherwise.
  Status on_proof(ConstBytes proof_body);
  const HelloFacts& hello() const { return hello_; }
  const std::string& session_key() const { return session_key_; }  // after on_proof

 private:
  ChallengeFacts challenge_;
  bool insecure_;
  HelloFacts hello_;
  std::vector<std::string> keys_;
  std::vector<std::byte> transcript_;
  std::string session_key_;
};

}  // namespace gd2fs
