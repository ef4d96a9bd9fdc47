// check_metadata: whether the records agree with each other: every name has its inode and every
// inode its name (or, unlinked, its intent), holds and intents match, usage is the sum of the
// files. Reads page by page; exact while nothing changes. Thread rule: the store's loop.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "loop/task.h"
#include "meta/meta_store.h"

namespace gd2fs {

struct MetaFindings {
  static constexpr size_t kFindingsMax = 100;
  uint64_t records = 0;
  std::vector<std::string> findings;  // the first kFindingsMax
};

Task<Result<MetaFindings>> check_metadata(MetaStore& store);

}  // namespace gd2fs
