// The real environment variables and token files of this process.
#include <cstdlib>

#include "client/options.h"
#include "wire/token.h"

namespace gd2fs::client {
namespace {

std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nobody can do better
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

}  // namespace

// What proves membership is the key that the token's text stands for, on both sides.
ClientEnvironment process_environment() {
  return {variable, read_token_file};
}

}  // namespace gd2fs::client
