#include "store/stranded_cut.h"

#include <algorithm>

#include "base/crc32c.h"

namespace gd2fs {
namespace {

// A page is immutable once it is shown: the shorter block is another page.
Status cut_block(Slab& slab, SlabPage& page, uint32_t block, uint64_t keep_bytes) {
  SlabPage* const cut = slab.take(page.key(), block, 1);
  if (cut == nullptr) return {StatusCode::busy, "no memory for a block that a fence cuts"};
  const std::byte* const old_bytes = page.block(block);
  std::copy(old_bytes, old_bytes + keep_bytes, cut->data());
  std::fill(cut->data() + keep_bytes, cut->data() + kBlockBytes, std::byte{0});
  cut->set_crc(block, crc32c(ConstBytes(cut->data(), kBlockBytes)));
  slab.set_dirty(*cut, true);
  slab.show(*cut, block, 1);
  slab.unhold(*cut);
  return {};
}

}  // namespace

Status cut_stranded(Slab& slab, const FenceRecord& fence) {
  const uint64_t chunk_bytes = uint64_t{1} << fence.chunk_log2;
  for (const ChunkKey& key : slab.map().chunks_of(fence.inode)) {
    const uint64_t begin = key.chunk * chunk_bytes;
    const uint64_t keep = fence.keep_bytes > begin ? fence.keep_bytes - begin : 0;
    if (keep >= chunk_bytes) continue;
    auto end_block = static_cast<uint32_t>(keep / kBlockBytes);
    if (keep % kBlockBytes != 0) {
      SlabPage* const page = slab.map().page_of(key, end_block);
      if (page != nullptr && page->dirty()) {
        GD2FS_TRY(cut_block(slab, *page, end_block, keep % kBlockBytes));
      }
      ++end_block;
    }
    slab.hide(key, end_block, kChunkBlocksMax);
  }
  return {};
}

void hide_but_stranded(Slab& slab, const ChunkKey& key, uint32_t first_block) {
  const PageMap::Segments* const shown = slab.map().find(key);
  if (shown == nullptr) return;
  for (const PageSegment& segment : PageMap::Segments(*shown)) {
    if (segment.page->dirty() || segment.end_block() <= first_block) continue;
    const uint32_t from = std::max(segment.first_block, first_block);
    slab.hide(key, from, segment.end_block() - from);
  }
}

}  // namespace gd2fs
