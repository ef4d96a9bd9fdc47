// Fences: how records change when servers must be told: the new generation, the tombstone, the
// namespace epoch, and the hold on what nobody may learn before the intent is settled.
// Thread rule: the Namespace's loop.
#pragma once

#include <string_view>

#include "loop/task.h"
#include "meta/meta_store.h"
#include "meta/records.h"

namespace gd2fs {

// For a change that drops bytes from keep_bytes on (UINT64_MAX: none). The inode is held.
Intent raise_generation(uint64_t inode, InodeRecord& record, uint64_t keep_bytes);
// The inode becomes a tombstone. It keeps its size, for whoever still lists it under its held name.
Intent raise_tombstone(uint64_t inode, InodeRecord& record, uint64_t now_us);
// Of the cluster: all cached paths are stale.
Intent raise_namespace_epoch(ClusterRecord& record);

// The name is held by `holds` intents: it means `now` (type none: nothing), and meant `was` before.
DentryRecord held_dentry(DentryRecord now, DentryRecord was, uint8_t holds);

// Frees what the intent holds and keeps it as settled, or (finish) removes it with its tombstone.
// Nothing if it is gone already.
enum class IntentEnd : uint8_t { settle, finish };
Task<Status> end_intent(MetaTransaction& tx, Intent intent, IntentEnd end);

}  // namespace gd2fs
