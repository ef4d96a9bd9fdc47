// Token: the secret that proves membership of a cluster (or, as the deployment's secret, of the
// deployment). 32 random bytes, written as 64 hexadecimal digits, kept in a file that only its
// owner may read. "Key" is the 32 bytes, "token" the text.
//
// The file calls block: for start-up and tools, not for a loop.
#pragma once

#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/status.h"

namespace gd2fs {

inline constexpr size_t kTokenKeyBytes = 32;

// A fresh token from the kernel's randomness (through OpenSSL).
std::string generate_token();
// The text of a key and back. White space around the text is ignored.
std::string token_from_key(std::string_view key);
Result<std::string> key_from_token(std::string_view token);

// The key in a token file. not_found; denied if it is not a plain file or if group or others may
// read or write it (the text says what to do); invalid if it holds no token.
Result<std::string> read_token_file(const std::string& path);
// Makes the file, 0600, durable before this returns. exists if it is there.
Status write_token_file(const std::string& path, std::string_view token);

// Fills from the same source as tokens and nonces.
void secure_random(Bytes out);

}  // namespace gd2fs
