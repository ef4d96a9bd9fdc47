// Any bytes as a capability: without the key nobody makes one that opens; with it, what was sealed
// opens to the same rights.
#include <cstdlib>
#include <vector>

#include "base/fuzz_seeds.h"
#include "wire/capability.h"
#include "wire/ids.h"

namespace {

void seeds(gd2fs::SeedFolder& folder) {
  folder.add(std::string(24, '\x01'));
  folder.add(gd2fs::seal_capability(gd2fs::Capability{}, "a key that nobody here has......"));
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  return gd2fs::write_seeds_if_asked(*argc, *argv, seeds);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gd2fs;  // NOLINT(google-build-using-namespace)
  const std::vector<uint8_t> copy(data, data + size);
  const ConstBytes bytes = as_bytes(copy.data(), copy.size());
  const std::string_view key = "0123456789abcdef0123456789abcdef";
  const std::string_view older = "fedcba9876543210fedcba9876543210";
  if (open_capability(bytes, key, older).has_value()) std::abort();
  if (size < 24) return 0;
  Capability capability;
  capability.cluster_id = load_le<uint16_t>(data);
  capability.inode = load_le<uint64_t>(data + 2);
  capability.generation = load_le<uint64_t>(data + 10);
  capability.expiry_us = load_le<uint64_t>(data + 16);
  capability.chunk_log2 = kChunkLog2Min + data[18] % (kChunkLog2Max - kChunkLog2Min + 1);
  capability.may_read = (data[19] & 1) != 0;
  capability.may_write = (data[19] & 2) != 0;
  SealedCapability sealed = seal_capability(capability, older);
  const auto opened = open_capability(sealed, key, older);
  if (!opened.has_value() || !(*opened == capability)) std::abort();
  // One changed byte, and it is none.
  const size_t at = data[20] % sealed.size();
  const auto flip = static_cast<std::byte>(data[21]);
  sealed[at] ^= flip;
  if (flip != std::byte{0} && open_capability(sealed, key, older).has_value()) std::abort();
  return 0;
}
