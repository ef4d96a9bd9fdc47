// A stranger's words in a handshake: as hello, as challenge, as proof. Nobody without the key gets
// in, whatever he says. The first byte picks whom he speaks to.
#include <cstdlib>

#include "base/fuzz_seeds.h"
#include "wire/auth.h"
#include "wire/message.h"

namespace {

// A whole handshake with another key, word by word.
void seeds(gd2fs::SeedFolder& folder) {
  using namespace gd2fs;  // NOLINT(google-build-using-namespace)
  HelloFacts facts;
  facts.cluster = "kv";
  ClientHandshake client(facts, "another", false);
  ServerHandshake server(ChallengeFacts{}, false);
  const std::vector<std::byte> hello = client.hello_body();
  const auto keys = [](const HelloFacts&) { return std::vector<std::string>{"another"}; };
  const auto challenge = server.on_hello(hello, keys);
  const auto proof = client.on_challenge(*challenge);
  folder.add(0, hello);
  folder.add(1, *challenge);
  folder.add(2, *proof);
  folder.add(0, *proof);
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  return gd2fs::write_seeds_if_asked(*argc, *argv, seeds);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gd2fs;  // NOLINT(google-build-using-namespace)
  if (size < 1) return 0;
  const std::vector<uint8_t> copy(data + 1, data + size);
  const ConstBytes body = as_bytes(copy.data(), copy.size());
  const auto keys = [](const HelloFacts&) { return std::vector<std::string>{"secret", "older"}; };
  HelloFacts facts;
  facts.cluster = "kv";
  if (data[0] % 3 == 0) {
    ServerHandshake server(ChallengeFacts{}, false);
    const auto challenge = server.on_hello(body, keys);
    if (challenge.has_value() && challenge->size() > kHandshakeBodyMaxBytes) std::abort();
    if (server.on_proof(body).ok()) std::abort();
  } else if (data[0] % 3 == 1) {
    ClientHandshake client(facts, "secret", false);
    if (client.on_challenge(body).has_value()) std::abort();
    ClientHandshake trusting(facts, "secret", true);
    (void)trusting.on_challenge(body);
  } else {
    ClientHandshake client(facts, "secret", false);
    ServerHandshake server(ChallengeFacts{}, false);
    if (!server.on_hello(client.hello_body(), keys).has_value()) std::abort();
    if (server.on_proof(body).ok()) std::abort();
  }
  return 0;
}
