#include "sim/seeds/pattern.h"

#include <algorithm>
#include <cstring>

#include "base/random.h"

namespace gd2fs::sim {
namespace {

uint64_t word_of(uint64_t id, uint64_t index) {
  return mix64(id * 0x9E3779B97F4A7C15u + index);
}

// Calls visit(position in the run, length, first byte's place in the word, the word) for each word
// that the run touches, until it answers false.
template <class Visit>
bool each_word(uint64_t id, uint64_t offset, size_t length, Visit visit) {
  for (size_t at = 0; at < length;) {
    const size_t skip = (offset + at) % 8;
    const size_t count = std::min(length - at, 8 - skip);
    const uint64_t word = word_of(id, (offset + at) / 8);
    if (!visit(at, count, reinterpret_cast<const std::byte*>(&word) + skip)) return false;
    at += count;
  }
  return true;
}

}  // namespace

void fill_pattern(uint64_t id, uint64_t offset, Bytes out) {
  each_word(id, offset, out.size(), [&](size_t at, size_t count, const std::byte* bytes) {
    std::memcpy(out.data() + at, bytes, count);
    return true;
  });
}

bool is_pattern(uint64_t id, uint64_t offset, ConstBytes bytes) {
  return each_word(id, offset, bytes.size(), [&](size_t at, size_t count, const std::byte* word) {
    return std::memcmp(bytes.data() + at, word, count) == 0;
  });
}

bool all_zeros(ConstBytes bytes) {
  return std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace gd2fs::sim
