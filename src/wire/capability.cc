#include "wire/capability.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/check.h"
#include "wire/ids.h"

namespace gd2fs {
namespace {

constexpr uint8_t kVersion = 1;
constexpr uint8_t kRightRead = 1;
constexpr uint8_t kRightWrite = 2;
constexpr uint8_t kPinned = 4;  // an attribute; who does not know it passes it over
constexpr size_t kMacBytes = 32;
constexpr size_t kSignedBytes = kCapabilityBytes - kMacBytes;
static_assert(kSignedBytes == 40);

using Mac = std::array<std::byte, kMacBytes>;

Mac hmac(std::string_view key, ConstBytes data) {
  Mac mac;
  unsigned length = 0;
  const auto* out = HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
                         reinterpret_cast<const unsigned char*>(data.data()), data.size(),
                         reinterpret_cast<unsigned char*>(mac.data()), &length);
  CHECK(out != nullptr && length == kMacBytes);
  return mac;
}

uint32_t key_id(std::string_view key) {
  constexpr std::string_view kLabel = "gd2fs-capability-key-id";
  return load_le<uint32_t>(hmac(key, as_bytes(kLabel.data(), kLabel.size())).data());
}

}  // namespace

SealedCapability seal_capability(const Capability& capability, std::string_view key) {
  SealedCapability sealed{};
  std::byte* out = sealed.data();
  const uint8_t rights = (capability.may_read ? kRightRead : 0) |
                         (capability.may_write ? kRightWrite : 0) |
                         (capability.pinned ? kPinned : 0);
  store_le<uint8_t>(out, kVersion);
  store_le<uint8_t>(out + 1, rights);
  store_le<uint8_t>(out + 2, capability.chunk_log2);
  store_le<uint32_t>(out + 4, key_id(key));
  store_le<uint16_t>(out + 8, capability.cluster_id);
  store_le<uint64_t>(out + 16, capability.inode);
  store_le<uint64_t>(out + 24, capability.generation);
  store_le<uint64_t>(out + 32, capability.expiry_us);
  const Mac mac = hmac(key, {out, kSignedBytes});
  std::memcpy(out + kSignedBytes, mac.data(), mac.size());
  return sealed;
}

Result<Capability> open_capability(ConstBytes sealed, std::string_view current_key,
                                   std::string_view previous_key) {
  if (sealed.size() != kCapabilityBytes || load_le<uint8_t>(sealed.data()) != kVersion) {
    return fail(StatusCode::invalid, "not a capability");
  }
  const std::byte* in = sealed.data();
  const auto id = load_le<uint32_t>(in + 4);
  std::string_view key;
  if (!current_key.empty() && id == key_id(current_key)) {
    key = current_key;
  } else if (!previous_key.empty() && id == key_id(previous_key)) {
    key = previous_key;
  } else {
    return fail(StatusCode::stale, "the capability's key is no longer known");
  }
  const Mac mac = hmac(key, {in, kSignedBytes});
  if (CRYPTO_memcmp(mac.data(), in + kSignedBytes, kMacBytes) != 0) {
    return fail(StatusCode::denied, "the capability's signature is wrong");
  }
  Capability capability;
  const auto rights = load_le<uint8_t>(in + 1);
  capability.may_read = (rights & kRightRead) != 0;
  capability.may_write = (rights & kRightWrite) != 0;
  capability.pinned = (rights & kPinned) != 0;
  capability.chunk_log2 = load_le<uint8_t>(in + 2);
  capability.cluster_id = load_le<uint16_t>(in + 8);
  capability.inode = load_le<uint64_t>(in + 16);
  capability.generation = load_le<uint64_t>(in + 24);
  capability.expiry_us = load_le<uint64_t>(in + 32);
  if (capability.chunk_log2 < kChunkLog2Min || capability.chunk_log2 > kChunkLog2Max) {
    return fail(StatusCode::invalid, "the capability's chunk size is out of range");
  }
  return capability;
}

}  // namespace gd2fs
