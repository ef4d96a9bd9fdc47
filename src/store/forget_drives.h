// forget_drives: drives that are missing and will not come back stop being waited for.
//
// Thread rule: the store's loop.
#pragma once

#include "store/store_core.h"

namespace gd2fs {

// As Store::forget_drives(). A drive that cannot record it is set aside; unavailable: none could.
Task<Status> forget_drives(StoreCore& core, std::vector<uint64_t> inode_ends);

}  // namespace gd2fs
