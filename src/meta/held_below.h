// Whether a directory has names below it that an open intent holds.
// Thread rule: the Namespace's loop.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "loop/task.h"
#include "meta/meta_store.h"
#include "meta/walk.h"

namespace gd2fs {

// busy if there is one, at any depth, or if it would take too many reads to say: a held name is
// listed as it was, and under another path it never was.
//
// It reads in transactions of its own: in the caller's, every change of any intent of the cluster
// would be a lost race. So a change below that begins in the same moment may be missed.
Task<Status> check_nothing_held_below(MetaStore& store, uint64_t directory, const Path& path);

}  // namespace gd2fs
