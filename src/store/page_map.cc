#include "store/page_map.h"

#include <algorithm>

#include "base/check.h"

namespace gd2fs {

const PageMap::Segments* PageMap::find(const ChunkKey& key) const {
  const auto found = chunks_.find(key);
  return found == chunks_.end() ? nullptr : &found->second;
}

SlabPage* PageMap::page_of(const ChunkKey& key, uint32_t block) const {
  const Segments* const segments = find(key);
  if (segments == nullptr) return nullptr;
  for (const PageSegment& segment : *segments) {
    if (segment.first_block <= block && block < segment.end_block()) return segment.page;
  }
  return nullptr;
}

// Takes [begin, end) away from all segments; one in the middle falls into two.
void PageMap::cut(Segments& segments, uint32_t begin, uint32_t end,
                  std::vector<SlabPage*>* unused) {
  Segments kept;
  kept.reserve(segments.size() + 1);
  for (const PageSegment& segment : segments) {
    const uint32_t left_end = std::min(segment.end_block(), begin);
    const uint32_t right_begin = std::max(segment.first_block, end);
    uint32_t parts = 0;
    if (segment.first_block < left_end) {
      kept.push_back({segment.first_block, left_end - segment.first_block, segment.page});
      ++parts;
    }
    if (right_begin < segment.end_block()) {
      kept.push_back({right_begin, segment.end_block() - right_begin, segment.page});
      ++parts;
    }
    SlabPage& page = *segment.page;
    page.segments_ += parts;
    if (--page.segments_ == 0) unused->push_back(&page);
  }
  segments = std::move(kept);
}

void PageMap::show(SlabPage& page, uint32_t first_block, uint32_t blocks,
                   std::vector<SlabPage*>* unused) {
  CHECK(blocks > 0 && first_block >= page.first_block_ &&
        first_block + blocks <= page.first_block_ + page.blocks_);
  Segments& segments = chunks_[page.key_];
  cut(segments, first_block, first_block + blocks, unused);
  const auto after = std::find_if(segments.begin(), segments.end(), [&](const PageSegment& s) {
    return s.first_block > first_block;
  });
  segments.insert(after, {first_block, blocks, &page});
  ++page.segments_;
  std::erase(*unused, &page);
}

void PageMap::hide(const ChunkKey& key, uint32_t first_block, uint32_t blocks,
                   std::vector<SlabPage*>* unused) {
  const auto found = chunks_.find(key);
  if (found == chunks_.end()) return;
  cut(found->second, first_block, first_block + blocks, unused);
  if (found->second.empty()) chunks_.erase(found);
}

void PageMap::hide_page(SlabPage& page) {
  const auto found = chunks_.find(page.key_);
  if (found == chunks_.end()) return;
  std::erase_if(found->second, [&](const PageSegment& s) { return s.page == &page; });
  if (found->second.empty()) chunks_.erase(found);
  page.segments_ = 0;
}

std::vector<ChunkKey> PageMap::chunks_of(uint64_t inode) const {
  std::vector<ChunkKey> keys;
  for (const auto& [key, segments] : chunks_) {
    if (inode == UINT64_MAX || key.inode == inode) keys.push_back(key);
  }
  std::sort(keys.begin(), keys.end());
  return keys;
}

}  // namespace gd2fs
