// Bytes: spans, little-endian loads and stores, alignment. Everything that GD2FS writes to a disk
// or a wire outside FlatBuffers is little-endian through these.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace gd2fs {

using Bytes = std::span<std::byte>;
using ConstBytes = std::span<const std::byte>;

inline constexpr uint64_t kKiB = 1024;
inline constexpr uint64_t kMiB = 1024 * kKiB;
inline constexpr uint64_t kGiB = 1024 * kMiB;

// `alignment` is a power of two.
constexpr uint64_t align_down(uint64_t value, uint64_t alignment) {
  return value & ~(alignment - 1);
}
constexpr uint64_t align_up(uint64_t value, uint64_t alignment) {
  return align_down(value + alignment - 1, alignment);
}
constexpr bool is_aligned(uint64_t value, uint64_t alignment) {
  return (value & (alignment - 1)) == 0;
}

template <class T>
T load_le(const void* from) {
  static_assert(std::endian::native == std::endian::little && std::is_trivially_copyable_v<T>);
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <class T>
void store_le(void* to, T value) {
  static_assert(std::endian::native == std::endian::little && std::is_trivially_copyable_v<T>);
  std::memcpy(to, &value, sizeof value);
}

inline ConstBytes as_bytes(const void* data, size_t length_bytes) {
  return {static_cast<const std::byte*>(data), length_bytes};
}
inline Bytes as_writable_bytes(void* data, size_t length_bytes) {
  return {static_cast<std::byte*>(data), length_bytes};
}

}  // namespace gd2fs
