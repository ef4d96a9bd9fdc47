#include "meta/held_below.h"

#include <cerrno>
#include <set>

#include "meta/inode_ranges.h"
#include "meta/keys.h"
#include "meta/records.h"

namespace gd2fs {
namespace {

constexpr size_t kScansMax = 256;
constexpr size_t kDirectoriesMax = MetaTransaction::kReadsMax / 2;

// The directories in which an open intent holds a name. False: there are too many intents.
Task<Result<bool>> find_held(MetaStore& store, uint16_t cluster, std::set<uint64_t>* parents) {
  std::string begin = intent_key(inode_of(cluster, 0), 0);
  const std::string end = intent_key(inode_of(cluster, kInodeNumberMax), UINT64_MAX);
  for (size_t scans = 0; scans < kScansMax; ++scans) {
    const auto tx = store.begin();
    GD2FS_CO_ASSIGN(const auto found, co_await tx->scan(begin, end, MetaTransaction::kScanMax));
    for (const auto& [key, value] : found) {
      GD2FS_CO_ASSIGN(const IntentRecord record, IntentRecord::decode(key, value));
      for (const HeldName& held : record.held) parents->insert(held.parent);
    }
    if (found.size() < MetaTransaction::kScanMax) co_return true;
    begin = found.back().key + '\0';
  }
  co_return false;
}

// Up from each to the root, or to what is known not to be below.
Task<Result<bool>> any_below(MetaTransaction& tx, uint64_t directory,
                             const std::set<uint64_t>& parents) {
  std::set<uint64_t> elsewhere = {root_inode(cluster_of_inode(directory))};
  for (uint64_t at : parents) {
    while (!elsewhere.contains(at)) {
      if (at == directory || elsewhere.size() > kDirectoriesMax) co_return true;
      elsewhere.insert(at);  // unless it turns out to be below, and then all of this ends
      GD2FS_CO_ASSIGN(const auto record, co_await read_inode(tx, at));
      if (!record) break;  // it was settled and removed since
      at = record->parent;
    }
  }
  co_return false;
}

}  // namespace

Task<Status> check_nothing_held_below(MetaStore& store, uint64_t directory, const Path& path) {
  std::set<uint64_t> parents;
  GD2FS_CO_ASSIGN(const bool all, co_await find_held(store, cluster_of_inode(directory), &parents));
  if (!all) co_return path_error(StatusCode::busy, EAGAIN, path);
  const auto tx = store.begin();
  const Result<bool> below = co_await any_below(*tx, directory, parents);
  if (!below && !tx->conflicted()) co_return below.error();
  co_return below.value_or(true) ? path_error(StatusCode::busy, EAGAIN, path) : Status();
}

}  // namespace gd2fs
