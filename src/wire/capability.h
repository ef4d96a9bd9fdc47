// Capability: a controller's signed word that its bearer may read or write one file's chunks.
//
// Signed with a key that only controllers and servers hold, so that a server can check it without
// asking anybody; it ends by its expiry (at most kCapabilityTtlMaxUs ahead) or when the file's
// generation moves on. A client carries it without understanding it. Format: 40 little-endian bytes
// {version, rights and attributes, chunk_log2, 0, key id, cluster, 0, inode, generation, expiry},
// then their HMAC-SHA256. The key id lets a server tell an old key (stale: ask for a new one) from
// a forgery (denied). Any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "base/status.h"

namespace gd2fs {

inline constexpr uint64_t kCapabilityTtlMaxUs = 600ull * 1000 * 1000;
inline constexpr size_t kCapabilityBytes = 72;
inline constexpr size_t kCapabilityKeyBytes = 32;

struct Capability {
  uint16_t cluster_id = 0;
  uint64_t inode = 0;
  uint64_t generation = 0;
  uint64_t expiry_us = 0;  // by the wall clock
  uint8_t chunk_log2 = 0;
  bool may_read = false;
  bool may_write = false;
  bool pinned = false;  // the file is to be kept in memory: a wish, not a right
  friend bool operator==(const Capability&, const Capability&) = default;
};

using SealedCapability = std::array<std::byte, kCapabilityBytes>;
SealedCapability seal_capability(const Capability& capability, std::string_view key);

// Tries the current key, then the previous one (empty: there is none). invalid: not a capability;
// stale: signed with neither key; denied: the signature is wrong. The expiry is the caller's to
// check.
Result<Capability> open_capability(ConstBytes sealed, std::string_view current_key,
                                   std::string_view previous_key);

}  // namespace gd2fs
