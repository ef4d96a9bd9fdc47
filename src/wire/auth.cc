#include "wire/auth.h"

#include <algorithm>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/check.h"
#include "wire/message.h"
#include "wire/token.h"

namespace gd2fs {
namespace {

constexpr std::string_view kServerLabel = "gd2fs-server";
constexpr std::string_view kClientLabel = "gd2fs-client";
constexpr std::string_view kSessionLabel = "gd2fs-session";

template <class T>
void append_le(std::vector<std::byte>& out, T value) {
  const size_t at = out.size();
  out.resize(at + sizeof value);
  store_le(out.data() + at, value);
}
void append(std::vector<std::byte>& out, ConstBytes bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

bool equal(ConstBytes a, ConstBytes b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

bool take_nonce(ConstBytes from, Nonce& to) {
  if (from.size() != to.size()) return false;
  std::ranges::copy(from, to.begin());
  return true;
}

std::string make_session_key(std::string_view key, ConstBytes transcript) {
  const MacBytes mac = handshake_mac(key, kSessionLabel, transcript);
  return {reinterpret_cast<const char*>(mac.data()), mac.size()};
}

Result<HelloFacts> open_hello(ConstBytes body) {
  const auto* hello = open_body<msg::Hello>(body);
  if (hello == nullptr) return fail(StatusCode::invalid, "hello: malformed");
  HelloFacts facts;
  facts.version_min = hello->version_min();
  facts.version_max = hello->version_max();
  facts.role = static_cast<uint8_t>(hello->role());
  facts.cluster = text_of(hello->cluster());
  facts.incarnation = hello->incarnation();
  facts.session = hello->session();
  facts.lane = hello->lane();
  facts.lanes = hello->lanes();
  if (facts.role >= kRolesCount) return fail(StatusCode::unsupported, "hello: unknown role");
  if (facts.cluster.size() > kClusterNameMaxBytes) {
    return fail(StatusCode::invalid, "hello: the cluster's name is too long");
  }
  if (facts.lanes < 1 || facts.lanes > kLanesMax || facts.lane >= facts.lanes ||
      (facts.lane == 0) != (facts.session == 0)) {
    return fail(StatusCode::invalid, "hello: lanes");
  }
  if (!take_nonce(bytes_of(hello->nonce()), facts.nonce)) {
    return fail(StatusCode::invalid, "hello: nonce");
  }
  if (text_of(hello->boot_id()).size() <= kBootIdMaxBytes)
    facts.boot_id = text_of(hello->boot_id());
  return facts;
}

}  // namespace

std::vector<std::byte> handshake_transcript(const HelloFacts& hello,
                                            const ChallengeFacts& challenge) {
  std::vector<std::byte> out;
  append_le(out, hello.version_min);
  append_le(out, hello.version_max);
  append_le(out, hello.role);
  append_le(out, static_cast<uint16_t>(hello.cluster.size()));
  append(out, as_bytes(hello.cluster.data(), hello.cluster.size()));
  append_le(out, hello.incarnation);
  append_le(out, hello.session);
  append_le(out, hello.lane);
  append_le(out, hello.lanes);
  append(out, hello.nonce);
  append_le(out, challenge.version);
  append_le(out, challenge.server_id);
  append_le(out, challenge.incarnation);
  append_le(out, challenge.deployment_id);
  append(out, challenge.nonce);
  return out;
}

MacBytes handshake_mac(std::string_view key, std::string_view label, ConstBytes transcript) {
  std::vector<std::byte> data;
  append(data, as_bytes(label.data(), label.size()));
  append_le<uint8_t>(data, 0);  // so that no label is the beginning of another
  append(data, transcript);
  MacBytes mac;
  unsigned length = 0;
  const auto* out = HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
                         reinterpret_cast<const unsigned char*>(data.data()), data.size(),
                         reinterpret_cast<unsigned char*>(mac.data()), &length);
  CHECK(out != nullptr && length == mac.size());
  return mac;
}

// --- the connecting side ---

ClientHandshake::ClientHandshake(HelloFacts hello, std::string key, bool insecure)
    : hello_(std::move(hello)), key_(std::move(key)), insecure_(insecure) {
  hello_.version_min = kProtocolVersionMin;
  hello_.version_max = kProtocolVersion;
  secure_random(hello_.nonce);
}

std::vector<std::byte> ClientHandshake::hello_body() const {
  flatbuffers::FlatBufferBuilder builder(512);
  const auto cluster = builder.CreateString(hello_.cluster);
  const auto nonce = builder.CreateVector(reinterpret_cast<const uint8_t*>(hello_.nonce.data()),
                                          hello_.nonce.size());
  flatbuffers::Offset<flatbuffers::String> boot_id;
  if (!hello_.boot_id.empty()) boot_id = builder.CreateString(hello_.boot_id);
  const ConstBytes body = finish_body(
      builder, msg::CreateHello(builder, hello_.version_min, hello_.version_max,
                                static_cast<msg::Role>(hello_.role), cluster, hello_.incarnation,
                                hello_.session, hello_.lane, hello_.lanes, nonce, boot_id));
  return {body.begin(), body.end()};
}

Result<std::vector<std::byte>> ClientHandshake::on_challenge(ConstBytes challenge_body) {
  const auto* challenge = open_body<msg::Challenge>(challenge_body);
  if (challenge == nullptr) return fail(StatusCode::invalid, "challenge: malformed");
  challenge_.version = challenge->version();
  challenge_.server_id = challenge->server_id();
  challenge_.incarnation = challenge->incarnation();
  challenge_.deployment_id = challenge->deployment_id();
  if (challenge_.version < kProtocolVersionMin || challenge_.version > kProtocolVersion) {
    return fail(StatusCode::unsupported, "challenge: the server chose a version we do not speak");
  }
  if (!take_nonce(bytes_of(challenge->nonce()), challenge_.nonce)) {
    return fail(StatusCode::invalid, "challenge: nonce");
  }
  const std::vector<std::byte> transcript = handshake_transcript(hello_, challenge_);
  const MacBytes expected = handshake_mac(key_, kServerLabel, transcript);
  const ConstBytes proofs = bytes_of(challenge->proof());
  bool proved = false;
  for (size_t at = 0; at + kProofBytes <= proofs.size() && at < kProofsMax * kProofBytes;
       at += kProofBytes) {
    proved |= equal(proofs.subspan(at, kProofBytes), expected);
  }
  if (!proved && !insecure_) {
    return fail(StatusCode::denied, proofs.empty()
                                        ? "the server proves nothing: it runs with --insecure"
                                        : "the token or the cluster's name is not the server's");
  }
  session_key_ = make_session_key(key_, transcript);
  flatbuffers::FlatBufferBuilder builder(128);
  const MacBytes mine = handshake_mac(key_, kClientLabel, transcript);
  const auto proof =
      builder.CreateVector(reinterpret_cast<const uint8_t*>(mine.data()), mine.size());
  const ConstBytes body = finish_body(builder, msg::CreateProof(builder, proof));
  return std::vector<std::byte>(body.begin(), body.end());
}

// --- the listening side ---

ServerHandshake::ServerHandshake(ChallengeFacts facts, bool insecure)
    : challenge_(facts), insecure_(insecure) {
  secure_random(challenge_.nonce);
}

Result<std::vector<std::byte>> ServerHandshake::on_hello(ConstBytes hello_body, const Keys& keys) {
  GD2FS_ASSIGN(hello_, open_hello(hello_body));
  if (hello_.version_min > kProtocolVersion || hello_.version_max < kProtocolVersionMin) {
    return fail(StatusCode::unsupported, "hello: versions " + std::to_string(hello_.version_min) +
                                             " to " + std::to_string(hello_.version_max) +
                                             ", we speak " + std::to_string(kProtocolVersionMin) +
                                             " to " + std::to_string(kProtocolVersion));
  }
  challenge_.version = std::min(hello_.version_max, kProtocolVersion);
  keys_ = keys(hello_);
  if (keys_.size() > kProofsMax) keys_.resize(kProofsMax);
  std::erase_if(keys_, [](const std::string& key) { return key.empty(); });
  if (keys_.empty() && !insecure_) {
    std::string nobodys(kTokenKeyBytes, '\0');
    secure_random(as_writable_bytes(nobodys.data(), nobodys.size()));
    keys_.push_back(std::move(nobodys));
  }
  transcript_ = handshake_transcript(hello_, challenge_);
  std::vector<std::byte> proofs;
  for (const std::string& key : keys_)
    append(proofs, handshake_mac(key, kServerLabel, transcript_));
  flatbuffers::FlatBufferBuilder builder(512);
  const auto nonce = builder.CreateVector(reinterpret_cast<const uint8_t*>(challenge_.nonce.data()),
                                          challenge_.nonce.size());
  const auto proof =
      builder.CreateVector(reinterpret_cast<const uint8_t*>(proofs.data()), proofs.size());
  const ConstBytes body =
      finish_body(builder, msg::CreateChallenge(builder, challenge_.version, challenge_.server_id,
                                                challenge_.incarnation, challenge_.deployment_id,
                                                nonce, proof));
  return std::vector<std::byte>(body.begin(), body.end());
}

Status ServerHandshake::on_proof(ConstBytes proof_body) {
  const auto* proof = open_body<msg::Proof>(proof_body);
  if (proof == nullptr) return {StatusCode::invalid, "proof: malformed"};
  const ConstBytes theirs = bytes_of(proof->proof());
  const std::string* matched = nullptr;
  for (const std::string& key : keys_) {
    // All are tried, so that the time tells nothing.
    if (equal(theirs, handshake_mac(key, kClientLabel, transcript_))) matched = &key;
  }
  if (matched == nullptr && !insecure_) {
    return {StatusCode::denied, "the token or the cluster's name is wrong"};
  }
  session_key_ = make_session_key(matched != nullptr ? *matched : std::string(), transcript_);
  return {};
}

}  // namespace gd2fs
