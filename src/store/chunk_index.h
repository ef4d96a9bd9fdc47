// ChunkIndex: which extents each chunk has, in RAM. Committed state only.
//
// Sized for many: the common chunk has one extent and costs one 28-byte entry in an open-addressed
// table (<= 40 bytes with the table's slack, see the test). A chunk with several extents points
// into a spill table. The table is cut into shards by inode, so that it grows in small steps and
// the chunks of one inode are found by looking through one shard (1/4096 of all).
//
// Thread rule: the store's loop.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "store/extents.h"
#include "store/store.h"

namespace gd2fs {

class ChunkIndex {
 public:
  ChunkIndex() : shards_(kShards) {}

  struct View {
    uint8_t chunk_log2 = 0;
    std::span<const Extent> extents;  // valid until the next call of find or set
  };
  // False if the chunk has no extent.
  bool find(const ChunkKey& key, View* view);
  // Replaces the chunk's extents; none removes the chunk. At most kExtentsHardMax.
  void set(const ChunkKey& key, uint8_t chunk_log2, std::span<const Extent> extents);

  void remove_drive(uint16_t drive);  // all extents on it

  // While an index is being rebuilt from a scan a chunk may pass kExtentsPerChunkMax for a moment.
  static constexpr size_t kExtentsHardMax = 4096;

  uint64_t chunks() const { return chunks_; }
  uint64_t extents() const { return extents_; }
  size_t memory_bytes() const;

  // In no order.
  void chunks_of(uint64_t inode, std::vector<ChunkKey>* out) const;
  // One shard's keys, for walks in small steps.
  static constexpr uint32_t kShards = 4096;
  void keys_of_shard(uint32_t shard, std::vector<ChunkKey>* out) const;

 private:
  struct Entry {  // 4-byte members, so that it packs to 28
    uint32_t inode_low = 0;
    uint32_t inode_high = 0;
    uint32_t chunk = 0;
    uint32_t version_low = 0;
    uint32_t version_high = 0;
    uint32_t place = 0;  // file << 16 | slot, or the spill's position
    // 10 bits first block, 11 blocks (0 = unused entry), 4 chunk_log2 - 16, 6 drive, 1 spilled.
    uint32_t packed = 0;
  };
  static_assert(sizeof(Entry) == 28);
  struct Shard {
    std::vector<Entry> entries;
    uint32_t used = 0;
  };

  static uint32_t shard_of(uint64_t inode);
  static size_t home_of(const ChunkKey& key, size_t capacity);
  static ChunkKey key_of(const Entry& entry);
  static bool is_used(const Entry& entry) { return entry.packed != 0; }
  static bool is_spilled(const Entry& entry) { return (entry.packed >> 31) != 0; }
  Entry* find_entry(Shard& shard, const ChunkKey& key);
  Entry& insert_entry(Shard& shard, const ChunkKey& key);
  void erase_entry(Shard& shard, Entry& entry);
  static void grow(Shard& shard);

  std::vector<Shard> shards_;
  std::vector<std::vector<Extent>> spills_;
  std::vector<uint32_t> free_spills_;
  Extent single_;  // what a View of an unspilled chunk shows
  uint64_t chunks_ = 0;
  uint64_t extents_ = 0;
};

}  // namespace gd2fs
