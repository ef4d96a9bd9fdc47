#include "wire/capability.h"

#include <string>

#include <gtest/gtest.h>

namespace gd2fs {
namespace {

const std::string kKey(32, 'k');
const std::string kOldKey(32, 'o');

Capability sample() {
  Capability capability;
  capability.cluster_id = 7;
  capability.inode = (7ull << 48) | 123;
  capability.generation = 4;
  capability.expiry_us = 1'750'000'000'000'000;
  capability.chunk_log2 = 22;
  capability.may_read = true;
  return capability;
}

TEST(Capability, opens_with_what_was_sealed_by_the_current_or_the_previous_key) {
  Capability capability = sample();
  for (const bool may_write : {false, true}) {
    capability.may_write = may_write;
    const auto opened = open_capability(seal_capability(capability, kKey), kKey, "");
    ASSERT_TRUE(opened.has_value()) << opened.error().to_string();
    EXPECT_EQ(*opened, capability);
    EXPECT_TRUE(open_capability(seal_capability(capability, kOldKey), kKey, kOldKey).has_value());
  }
}

TEST(Capability, every_flipped_bit_is_noticed) {
  const SealedCapability sealed = seal_capability(sample(), kKey);
  for (size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    SealedCapability forged = sealed;
    forged[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_FALSE(open_capability(forged, kKey, kOldKey).has_value()) << "bit " << bit;
  }
}

TEST(Capability, an_unknown_key_is_stale_and_a_wrong_signature_denied) {
  SealedCapability sealed = seal_capability(sample(), kOldKey);
  EXPECT_TRUE(open_capability(sealed, kKey, "").error().is(StatusCode::stale));
  EXPECT_TRUE(open_capability(sealed, "", "").error().is(StatusCode::stale));
  sealed = seal_capability(sample(), kKey);
  sealed[71] ^= std::byte{1};
  EXPECT_TRUE(open_capability(sealed, kKey, "").error().is(StatusCode::denied));
}

TEST(Capability, other_lengths_are_invalid) {
  const SealedCapability sealed = seal_capability(sample(), kKey);
  const ConstBytes bytes(sealed);
  EXPECT_TRUE(open_capability({}, kKey, "").error().is(StatusCode::invalid));
  EXPECT_TRUE(open_capability(bytes.first(71), kKey, "").error().is(StatusCode::invalid));
}

TEST(Capability, its_bytes_are_frozen) {
  const SealedCapability sealed = seal_capability(sample(), kKey);
  uint64_t sum = 0;
  for (const std::byte b : sealed) sum = sum * 131 + static_cast<uint64_t>(b);
  EXPECT_EQ(sum, 17777070280513034360u);  // made with another HMAC library
}

}  // namespace
}  // namespace gd2fs
