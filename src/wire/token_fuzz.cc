// Any text as a token: what is taken has 32 bytes and reads back as the same digits.
#include <cstdlib>

#include "base/fuzz_seeds.h"
#include "wire/token.h"

namespace {

void seeds(gd2fs::SeedFolder& folder) {
  folder.add(gd2fs::token_from_key(std::string(gd2fs::kTokenKeyBytes, 'k')) + "\n");
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  return gd2fs::write_seeds_if_asked(*argc, *argv, seeds);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto key = gd2fs::key_from_token(text);
  if (!key.has_value()) return 0;
  if (key->size() != gd2fs::kTokenKeyBytes) std::abort();
  if (gd2fs::key_from_token(gd2fs::token_from_key(*key)) != key) std::abort();
  return 0;
}
