// Any text as a token: what is taken has 32 bytes and reads back as the same digits.
#include <cstdlib>

#include "wire/token.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto key = gd2fs::key_from_token(text);
  if (!key.has_value()) return 0;
  if (key->size() != gd2fs::kTokenKeyBytes) std::abort();
  if (gd2fs::key_from_token(gd2fs::token_from_key(*key)) != key) std::abort();
  return 0;
}
