// What a fence does to stranded pages: dirty ones that no drive took (durability memory), so that
// no extent tells of them and only the slab can be cut. Thread rule: the store's loop.
#pragma once

#include "store/log_record.h"
#include "store/slab.h"

namespace gd2fs {

// Takes away what the inode's stranded pages show beyond the fence; the block that it cuts in the
// middle becomes a new dirty page with zeros behind the cut. Only between a fence's wait for older
// updates and its end: then no dirty page of the inode is on its way to a drive.
// busy: there was no memory for such a page; nothing of its chunk was cut.
Status cut_stranded(Slab& slab, const FenceRecord& fence);

// Hides what the chunk shows from first_block on, but for stranded pages: they are all there is of
// their bytes.
void hide_but_stranded(Slab& slab, const ChunkKey& key, uint32_t first_block);

}  // namespace gd2fs
