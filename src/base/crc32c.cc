#include "base/crc32c.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

#include <array>

namespace gd2fs {
namespace {

constexpr uint32_t kPolynomial = 0x82F63B78;  // 0x1EDC6F41 reflected

constexpr std::array<uint32_t, 256> make_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) ? kPolynomial : 0);
    table[i] = value;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kTable = make_table();

// Appending n zero bytes is a linear map of the 32-bit remainder; kZeroPower[k] is that map for
// n = 2^k bytes, as the images of the 32 unit vectors.
using Matrix = std::array<uint32_t, 32>;

constexpr uint32_t apply(const Matrix& matrix, uint32_t vector) {
  uint32_t sum = 0;
  for (int bit = 0; vector != 0; ++bit, vector >>= 1) {
    if (vector & 1) sum ^= matrix[bit];
  }
  return sum;
}

constexpr std::array<Matrix, 48> make_zero_powers() {
  std::array<Matrix, 48> powers{};
  for (int bit = 0; bit < 32; ++bit) {
    uint32_t value = 1u << bit;
    powers[0][bit] = (value >> 8) ^ kTable[value & 0xFF];
  }
  for (size_t k = 1; k < powers.size(); ++k) {
    for (int bit = 0; bit < 32; ++bit) powers[k][bit] = apply(powers[k - 1], powers[k - 1][bit]);
  }
  return powers;
}
constexpr std::array<Matrix, 48> kZeroPower = make_zero_powers();

uint32_t append_zeros(uint32_t raw, uint64_t length_bytes) {
  for (size_t k = 0; length_bytes != 0 && k < kZeroPower.size(); ++k, length_bytes >>= 1) {
    if (length_bytes & 1) raw = apply(kZeroPower[k], raw);
  }
  return raw;
}

#if defined(__x86_64__)
// The crc32 instruction has a latency of 3 cycles and a throughput of 1, so three streams over
// three neighbouring lanes keep it busy. The lanes are joined by "append kLane zero bytes", which
// is four table look-ups.
constexpr size_t kLane = 1024;

constexpr std::array<std::array<uint32_t, 256>, 4> make_lane_shift() {
  // kLane = 2^10
  std::array<std::array<uint32_t, 256>, 4> shift{};
  for (uint32_t byte = 0; byte < 4; ++byte) {
    for (uint32_t value = 0; value < 256; ++value) {
      shift[byte][value] = apply(kZeroPower[10], value << (8 * byte));
    }
  }
  return shift;
}
constexpr std::array<std::array<uint32_t, 256>, 4> kLaneShift = make_lane_shift();

uint64_t shift_lane(uint64_t raw) {
  return kLaneShift[0][raw & 0xFF] ^ kLaneShift[1][(raw >> 8) & 0xFF] ^
         kLaneShift[2][(raw >> 16) & 0xFF] ^ kLaneShift[3][(raw >> 24) & 0xFF];
}

__attribute__((target("sse4.2"))) uint32_t extend_sse42(uint32_t crc, ConstBytes data) {
  uint64_t raw = static_cast<uint32_t>(~crc);
  const std::byte* at = data.data();
  size_t left = data.size();
  while (left >= 3 * kLane) {
    uint64_t raw_b = 0;
    uint64_t raw_c = 0;
    for (size_t i = 0; i < kLane; i += 8) {
      raw = _mm_crc32_u64(raw, load_le<uint64_t>(at + i));
      raw_b = _mm_crc32_u64(raw_b, load_le<uint64_t>(at + kLane + i));
      raw_c = _mm_crc32_u64(raw_c, load_le<uint64_t>(at + 2 * kLane + i));
    }
    raw = shift_lane(raw) ^ raw_b;
    raw = shift_lane(raw) ^ raw_c;
    at += 3 * kLane;
    left -= 3 * kLane;
  }
  // Most messages are shorter than a lane: these lines are what a small request pays.
  for (; left >= 32; at += 32, left -= 32) {
    raw = _mm_crc32_u64(raw, load_le<uint64_t>(at));
    raw = _mm_crc32_u64(raw, load_le<uint64_t>(at + 8));
    raw = _mm_crc32_u64(raw, load_le<uint64_t>(at + 16));
    raw = _mm_crc32_u64(raw, load_le<uint64_t>(at + 24));
  }
  for (; left >= 8; at += 8, left -= 8) raw = _mm_crc32_u64(raw, load_le<uint64_t>(at));
  if (left >= 4) {
    raw = _mm_crc32_u32(static_cast<uint32_t>(raw), load_le<uint32_t>(at));
    at += 4;
    left -= 4;
  }
  for (; left > 0; ++at, --left) {
    raw = _mm_crc32_u8(static_cast<uint32_t>(raw), static_cast<uint8_t>(*at));
  }
  return ~static_cast<uint32_t>(raw);
}

const bool kHasSse42 = __builtin_cpu_supports("sse4.2") != 0;
#endif

}  // namespace

uint32_t crc32c_extend(uint32_t crc, ConstBytes data) {
#if defined(__x86_64__)
  if (kHasSse42) return extend_sse42(crc, data);
#endif
  return crc32c_extend_portable(crc, data);
}

uint32_t crc32c_extend_portable(uint32_t crc, ConstBytes data) {
  uint32_t raw = ~crc;
  for (std::byte byte : data) raw = (raw >> 8) ^ kTable[(raw ^ static_cast<uint32_t>(byte)) & 0xFF];
  return ~raw;
}

uint32_t crc32c(ConstBytes data) {
  return crc32c_extend(0, data);
}

uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t length_b_bytes) {
  return append_zeros(crc_a, length_b_bytes) ^ crc_b;
}

uint32_t crc32c_zeros(uint64_t length_bytes) {
  return ~append_zeros(~0u, length_bytes);
}

}  // namespace gd2fs
