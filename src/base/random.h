// Random: one seeded source of pseudo-random numbers per process or simulated world.
//
// Nothing else in GD2FS draws random numbers (keys and nonces come from OpenSSL through
// wire/auth.h). main() seeds it from the kernel; a simulation seeds it with the number it prints,
// so that every choice can be replayed. xoshiro256** seeded by splitmix64. One thread at a time.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace gd2fs {

class Random {
 public:
  explicit Random(uint64_t seed);
  static uint64_t seed_from_kernel();  // getrandom(2)

  uint64_t next();
  uint64_t below(uint64_t bound);                 // uniform in [0, bound), bound > 0
  uint64_t between(uint64_t low, uint64_t high);  // uniform in [low, high]
  bool chance(uint32_t numerator, uint32_t denominator);
  void fill(Bytes out);
  Random fork();  // an independent stream

 private:
  uint64_t state_[4];
};

// splitmix64's finalizer: a fixed, good 64-bit mixing function. Layouts depend on it (golden
// values in the tests); it must never change. Source: Steele, Lea, Flood 2014.
inline uint64_t mix64(uint64_t value) {
  value += 0x9E3779B97F4A7C15u;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
  return value ^ (value >> 31);
}

}  // namespace gd2fs
