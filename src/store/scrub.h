// Scrub: reads every extent and checks it against its checksums, at a bounded rate.
// Thread rule: the store's loop.
#pragma once

#include "store/store_core.h"

namespace gd2fs {

// rate_bytes_per_s 0: no limit. Ends early, unfinished, when the store closes.
Task<ScrubReport> scrub_store(StoreCore& core, uint64_t rate_bytes_per_s);

}  // namespace gd2fs
