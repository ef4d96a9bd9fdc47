// PageMap: which slab page shows each cached block of each chunk. Always the committed content: a
// write that commits, and a fence that drops bytes, change it in the same breath as the index.
// Thread rule: the store's loop.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/random.h"
#include "store/page.h"

namespace gd2fs {

struct ChunkKeyHash {
  size_t operator()(const ChunkKey& key) const { return mix64(mix64(key.inode) + key.chunk); }
};

// Blocks of a chunk that one page shows; segments of a chunk do not overlap.
struct PageSegment {
  uint32_t first_block = 0;
  uint32_t blocks = 0;
  SlabPage* page = nullptr;
  uint32_t end_block() const { return first_block + blocks; }
};

class PageMap {
 public:
  using Segments = std::vector<PageSegment>;  // by first_block

  // nullptr if nothing of the chunk is cached.
  const Segments* find(const ChunkKey& key) const;
  // The page that shows this block, or nullptr.
  SlabPage* page_of(const ChunkKey& key, uint32_t block) const;
  // Shows these blocks of the page from now on. Pages that lost their last segment are appended to
  // `unused`.
  void show(SlabPage& page, uint32_t first_block, uint32_t blocks, std::vector<SlabPage*>* unused);
  void hide(const ChunkKey& key, uint32_t first_block, uint32_t blocks,
            std::vector<SlabPage*>* unused);
  void hide_page(SlabPage& page);  // all its segments
  // Chunks of one inode (UINT64_MAX: all) that have cached pages.
  std::vector<ChunkKey> chunks_of(uint64_t inode) const;

 private:
  static void cut(Segments& segments, uint32_t begin, uint32_t end, std::vector<SlabPage*>* unused);
  std::unordered_map<ChunkKey, Segments, ChunkKeyHash> chunks_;
};

}  // namespace gd2fs
