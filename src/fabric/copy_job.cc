#include "fabric/copy_job.h"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace gd2fs {

// memcpy itself sees only a piece of what is copied.
void copy_around_cache(std::byte* to, const std::byte* from, size_t length) {
#if defined(__x86_64__)
  constexpr size_t kLine = 64;
  const size_t head = std::min(length, -reinterpret_cast<uintptr_t>(to) % kLine);
  std::memcpy(to, from, head);
  to += head;
  from += head;
  length -= head;
  for (; length >= kLine; to += kLine, from += kLine, length -= kLine) {
    const auto* in = reinterpret_cast<const __m128i*>(from);
    auto* out = reinterpret_cast<__m128i*>(to);
    const __m128i a = _mm_loadu_si128(in);
    const __m128i b = _mm_loadu_si128(in + 1);
    const __m128i c = _mm_loadu_si128(in + 2);
    const __m128i d = _mm_loadu_si128(in + 3);
    _mm_stream_si128(out, a);
    _mm_stream_si128(out + 1, b);
    _mm_stream_si128(out + 2, c);
    _mm_stream_si128(out + 3, d);
  }
  _mm_sfence();
#endif
  std::memcpy(to, from, length);
}

void CopyJob::make(uint64_t begin, uint64_t end) {
  uint64_t at = 0;
  for (const Part& part : parts) {
    const uint64_t from = std::max(begin, at);
    const uint64_t to = std::min(end, at + part.length_bytes);
    if (from < to) {
      const auto copy_bytes = around_cache
                                  ? &copy_around_cache
                                  : +[](std::byte* target, const std::byte* source, size_t length) {
                                      std::memcpy(target, source, length);
                                    };
      copy_bytes(part.to + (from - at), part.from + (from - at), to - from);
    }
    at += part.length_bytes;
    if (at >= end) return;
  }
}

}  // namespace gd2fs
