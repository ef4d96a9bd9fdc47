// Ids: the small values that every layer speaks of: chunk sizes, chunk keys, mutation tags, file
// types.
// Plain values; any thread.
#pragma once

#include <compare>
#include <cstdint>

namespace gd2fs {

inline constexpr uint8_t kChunkLog2Min = 16;      // 64 KiB
inline constexpr uint8_t kChunkLog2Max = 26;      // 64 MiB
inline constexpr uint8_t kChunkLog2Default = 22;  // 4 MiB

// Inode numbers are unique in a deployment and never reused; the top 16 bits are the cluster, so
// that a chunk's cluster (and with it its arenas) follows from its key.
struct ChunkKey {
  uint64_t inode = 0;
  uint32_t chunk = 0;
  friend auto operator<=>(const ChunkKey&, const ChunkKey&) = default;
};
inline uint16_t cluster_of_inode(uint64_t inode) {
  return static_cast<uint16_t>(inode >> 48);
}

// Names one mutation of one client for ever: a retry carries the same tag and is answered with the
// first one's result. `low` is the client's lowest sequence still unanswered; a receiver may forget
// what is below it and answers stale to a request from below. Sequences begin at 1.
struct MutationTag {
  uint64_t incarnation = 0;  // random, one per client ctx
  uint64_t sequence = 0;
  uint64_t low = 0;
};

// As in messages.fbs.
enum class FileType : uint8_t { none = 0, file = 1, directory = 2 };

}  // namespace gd2fs
