// SlabPage: a run of blocks of one arena that holds a block range of one chunk version.
//
// Private while it is being filled (its maker's hold), then immutable: it is published by linking
// it into the PageMap and read through holds. It goes back to its arena when no segment of the map
// shows it and nobody holds it. Thread rule: the store's loop.
#pragma once

#include <cstdint>
#include <vector>

#include "base/list.h"
#include "store/store.h"

namespace gd2fs {

class Slab;

class SlabPage : public ListNode<> {
 public:
  std::byte* block(uint32_t chunk_block) {
    return data_ + uint64_t{chunk_block - first_block_} * kBlockBytes;
  }
  std::byte* data() { return data_; }
  const ChunkKey& key() const { return key_; }
  uint32_t first_block() const { return first_block_; }
  uint32_t blocks() const { return blocks_; }
  uint32_t arena() const { return arena_; }
  uint64_t arena_offset(uint32_t chunk_block) const {
    return (uint64_t{first_unit_} + chunk_block - first_block_) * kBlockBytes;
  }
  uint64_t generation() const { return generation_; }
  uint32_t crc(uint32_t chunk_block) const { return crcs_[chunk_block - first_block_]; }
  void set_crc(uint32_t chunk_block, uint32_t crc) { crcs_[chunk_block - first_block_] = crc; }
  // May not be evicted: somebody uses it, or it is all there is of its bytes.
  bool held() const { return holds_ != 0 || dirty_; }
  bool pinned() const { return pinned_; }
  bool dirty() const { return dirty_; }
  Slab& slab() { return *slab_; }

 private:
  friend class Slab;
  friend class S3Fifo;
  friend class PageMap;
  Slab* slab_ = nullptr;
  std::byte* data_ = nullptr;
  ChunkKey key_;
  uint32_t first_block_ = 0;  // in the chunk
  uint32_t blocks_ = 0;
  uint32_t arena_ = 0;
  uint32_t first_unit_ = 0;  // in the arena, in blocks
  uint64_t generation_ = 0;
  std::vector<uint32_t> crcs_;
  uint32_t holds_ = 0;
  uint32_t segments_ = 0;  // of the PageMap
  uint8_t uses_ = 0;       // S3-FIFO's counter, 0..3
  bool in_main_ = false;
  bool pinned_ = false;  // on its pool's list of pinned pages, in no queue
  bool dirty_ = false;   // acknowledged, and not yet on a drive
};

}  // namespace gd2fs
