#include "base/random.h"

#include <sys/random.h>

#include "base/check.h"

namespace gd2fs {

Random::Random(uint64_t seed) {
  for (uint64_t i = 0; i < 4; ++i) state_[i] = mix64(seed + i * 0x9E3779B97F4A7C15u);
}

uint64_t Random::seed_from_kernel() {
  uint64_t seed = 0;
  CHECK(getrandom(&seed, sizeof seed, 0) == sizeof seed);
  return seed;
}

uint64_t Random::next() {
  const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

uint64_t Random::below(uint64_t bound) {
  CHECK(bound > 0);
  // Rejection keeps it uniform: values under 2^64 mod bound are drawn again.
  const uint64_t reject_below = (0 - bound) % bound;
  for (;;) {
    const uint64_t value = next();
    if (value >= reject_below) return value % bound;
  }
}

uint64_t Random::between(uint64_t low, uint64_t high) {
  CHECK(low <= high);
  if (high - low == UINT64_MAX) return next();
  return low + below(high - low + 1);
}

bool Random::chance(uint32_t numerator, uint32_t denominator) {
  return below(denominator) < numerator;
}

void Random::fill(Bytes out) {
  while (!out.empty()) {
    const uint64_t value = next();
    const size_t part = out.size() < sizeof value ? out.size() : sizeof value;
    std::memcpy(out.data(), &value, part);
    out = out.subspan(part);
  }
}

Random Random::fork() {
  return Random(next());
}

}  // namespace gd2fs
