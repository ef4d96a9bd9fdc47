#include "base/crc32c.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

#include <algorithm>
#include <array>
#include <cstring>

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
// The crc32 instruction has a latency of 3 cycles and a throughput of 1, so four streams over
// four neighbouring lanes, which together are a page, keep it busy. The lanes are joined by "append
// kLane zero bytes", which is four table look-ups.
constexpr size_t kLane = 1024;
constexpr size_t kRound = 4 * kLane;

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

uint64_t address(const void* at) {
  return reinterpret_cast<uintptr_t>(at);
}

// What the four lanes of a round have come to.
struct Lanes {
  uint64_t a;
  uint64_t b = 0;
  uint64_t c = 0;
  uint64_t d = 0;

  uint32_t joined() const {
    const uint64_t abc = shift_lane(shift_lane(a) ^ b) ^ c;
    return static_cast<uint32_t>(shift_lane(abc) ^ d);
  }
};

// Memory that is in no cache, or in that of another core, has to be asked for ahead: the CPU's own
// prefetching ends at each page. A core waits for few lines at a time on their way to its first
// cache, and for more of them on their way to its second, so a round is asked for twice: into the
// second cache when it is four rounds ahead, and into the first when it is the next one.
constexpr size_t kRoundsToSecondCache = 4;

// What to ask for during the round at `at`, of data that ends at `end`.
struct Ahead {
  const std::byte* next;   // the next round; null if there is none
  const std::byte* later;  // four rounds ahead, or else the next one

  Ahead(const std::byte* at, const std::byte* end)
      : next(static_cast<size_t>(end - at) >= 2 * kRound ? at + kRound : nullptr),
        later(static_cast<size_t>(end - at) >= (kRoundsToSecondCache + 1) * kRound
                  ? at + kRoundsToSecondCache * kRound
                  : next) {}
};

// Asks for the line at `line` of each lane. Always inline: GCC takes a function that only asks for
// something to do nothing, and leaves out a call of it.
[[gnu::always_inline]] inline void fetch_lanes(Ahead ahead, size_t line) {
  if (ahead.next == nullptr) return;
  for (size_t at = line; at < kRound; at += kLane) __builtin_prefetch(ahead.later + at, 0, 2);
  for (size_t at = line; at < kRound; at += kLane) __builtin_prefetch(ahead.next + at, 0, 3);
}

// `raw` continued over one round.
__attribute__((target("sse4.2"))) uint32_t round_sse42(uint32_t raw, const std::byte* at,
                                                       Ahead ahead) {
  Lanes lanes{raw};
  for (size_t line = 0; line < kLane; line += 64) {
    fetch_lanes(ahead, line);
    for (size_t i = line; i < line + 64; i += 8) {
      lanes.a = _mm_crc32_u64(lanes.a, load_le<uint64_t>(at + i));
      lanes.b = _mm_crc32_u64(lanes.b, load_le<uint64_t>(at + kLane + i));
      lanes.c = _mm_crc32_u64(lanes.c, load_le<uint64_t>(at + 2 * kLane + i));
      lanes.d = _mm_crc32_u64(lanes.d, load_le<uint64_t>(at + 3 * kLane + i));
    }
  }
  return lanes.joined();
}

// Copies 16 bytes past the caches, and continues `raw` over what was copied: what is written over
// need not be read before, and what is read next is not pushed out. `to` is aligned to 16.
__attribute__((target("sse4.2"))) uint64_t copy_16(uint64_t raw, const std::byte* at,
                                                   std::byte* to) {
  const __m128i two = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
  _mm_stream_si128(reinterpret_cast<__m128i*>(to), two);
  raw = _mm_crc32_u64(raw, static_cast<uint64_t>(_mm_cvtsi128_si64(two)));
  return _mm_crc32_u64(raw, static_cast<uint64_t>(_mm_extract_epi64(two, 1)));
}

// As round_sse42, and copies the round to `to`.
__attribute__((target("sse4.2"))) uint32_t copy_round_sse42(uint32_t raw, const std::byte* at,
                                                            std::byte* to, Ahead ahead) {
  Lanes lanes{raw};
  for (size_t i = 0; i < kLane; i += 16) {
    if (i % 64 == 0) fetch_lanes(ahead, i);
    lanes.a = copy_16(lanes.a, at + i, to + i);
    lanes.b = copy_16(lanes.b, at + kLane + i, to + kLane + i);
    lanes.c = copy_16(lanes.c, at + 2 * kLane + i, to + 2 * kLane + i);
    lanes.d = copy_16(lanes.d, at + 3 * kLane + i, to + 3 * kLane + i);
  }
  return lanes.joined();
}

__attribute__((target("sse4.2"))) inline uint64_t crc_16(uint64_t raw, const std::byte* at) {
  raw = _mm_crc32_u64(raw, load_le<uint64_t>(at));
  return _mm_crc32_u64(raw, load_le<uint64_t>(at + 8));
}

// `raw` continued over less than a round. Most messages are shorter than a lane: these lines are
// what a small request pays.
__attribute__((target("sse4.2"))) inline uint32_t tail_sse42(uint32_t raw, const std::byte* at,
                                                             size_t left) {
  uint64_t wide = raw;
  for (; left >= 64; at += 64, left -= 64) {
    wide = crc_16(crc_16(crc_16(crc_16(wide, at), at + 16), at + 32), at + 48);
  }
  if ((left & 32) != 0) {
    wide = crc_16(crc_16(wide, at), at + 16);
    at += 32;
  }
  if ((left & 16) != 0) {
    wide = crc_16(wide, at);
    at += 16;
  }
  if ((left & 8) != 0) {
    wide = _mm_crc32_u64(wide, load_le<uint64_t>(at));
    at += 8;
  }
  raw = static_cast<uint32_t>(wide);
  if ((left & 4) != 0) {
    raw = _mm_crc32_u32(raw, load_le<uint32_t>(at));
    at += 4;
  }
  for (left &= 3; left > 0; ++at, --left) raw = _mm_crc32_u8(raw, static_cast<uint8_t>(*at));
  return raw;
}

// Bytes up to `fetch_end`, which may lie behind data, will be read next. A function of its own:
// what it keeps on the stack is not for small requests to pay.
__attribute__((target("sse4.2"), noinline)) uint32_t
extend_rounds_sse42(uint32_t crc, ConstBytes data, const std::byte* fetch_end) {
  uint32_t raw = ~crc;
  const std::byte* at = data.data();
  size_t left = data.size();
  for (; left >= kRound; at += kRound, left -= kRound) {
    raw = round_sse42(raw, at, Ahead(at, fetch_end));
  }
  return ~tail_sse42(raw, at, left);
}

__attribute__((target("sse4.2"))) uint32_t extend_sse42(uint32_t crc, ConstBytes data,
                                                        const std::byte* fetch_end) {
  if (data.size() >= kRound) return extend_rounds_sse42(crc, data, fetch_end);
  return ~tail_sse42(~crc, data.data(), data.size());
}

const bool kHasSse42 = __builtin_cpu_supports("sse4.2") != 0;
#endif

// By what the CPU has. `fetch_end` is as extend_sse42 has it.
uint32_t extend(uint32_t crc, ConstBytes data, [[maybe_unused]] const std::byte* fetch_end) {
#if defined(__x86_64__)
  if (kHasSse42) return extend_sse42(crc, data, fetch_end);
#endif
  return crc32c_extend_portable(crc, data);
}

uint32_t copy_extend(uint32_t crc, ConstBytes from, Bytes to,
                     [[maybe_unused]] const std::byte* fetch_end) {
  size_t at = 0;
#if defined(__x86_64__)
  for (; kHasSse42 && from.size() - at >= kRound && is_aligned(address(&to[at]), 16);
       at += kRound) {
    crc = ~copy_round_sse42(~crc, &from[at], &to[at], Ahead(&from[at], fetch_end));
  }
#endif
  if (at == from.size()) return crc;
  const Bytes rest = to.subspan(at);
  std::memcpy(rest.data(), &from[at], rest.size());
  return crc32c_extend(crc, rest);
}

// Or another core might see a flag set after this before it sees the bytes.
void end_copy() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

}  // namespace

uint32_t crc32c_extend(uint32_t crc, ConstBytes data) {
  return extend(crc, data, data.data() + data.size());
}

uint32_t crc32c_extend_portable(uint32_t crc, ConstBytes data) {
  uint32_t raw = ~crc;
  for (std::byte byte : data) raw = (raw >> 8) ^ kTable[(raw ^ static_cast<uint32_t>(byte)) & 0xFF];
  return ~raw;
}

uint32_t crc32c(ConstBytes data) {
  return crc32c_extend(0, data);
}

void crc32c_blocks(ConstBytes data, size_t block_bytes, std::span<uint32_t> crcs) {
  size_t at = 0;
  for (uint32_t& crc : crcs) {
    const ConstBytes block = data.subspan(at, std::min(data.size() - at, block_bytes));
    at += block.size();
    crc = extend(0, block, data.data() + data.size());
  }
}

void crc32c_copy_blocks(ConstBytes from, Bytes to, size_t block_bytes, std::span<uint32_t> crcs) {
  size_t at = 0;
  for (uint32_t& crc : crcs) {
    const size_t length = std::min(from.size() - at, block_bytes);
    crc =
        copy_extend(0, from.subspan(at, length), to.subspan(at, length), from.data() + from.size());
    at += length;
  }
  end_copy();
}

uint32_t crc32c_copy_extend(uint32_t crc, ConstBytes from, Bytes to) {
  crc = copy_extend(crc, from, to, from.data() + from.size());
  end_copy();
  return crc;
}

uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t length_b_bytes) {
  return append_zeros(crc_a, length_b_bytes) ^ crc_b;
}

uint32_t crc32c_zeros(uint64_t length_bytes) {
  return ~append_zeros(~0u, length_bytes);
}

}  // namespace gd2fs
