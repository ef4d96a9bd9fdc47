#include "meta/held_below.h"

#include <cerrno>
#include <set>

#include "meta/inode_ranges.h"
#include "meta/keys.h"
#include "meta/records.h"

namespace gd2fs {
namespace {

// Of the reads that a transaction may have.
constexpr size_t kScansMax = 16;
constexpr size_t kDirectoriesMax = MetaTransaction::kReadsMax / 2;

// The directories in which an open intent holds a name. False: there are too many intents.
Task<Result<bool>> find_held(MetaTransaction& tx, uint16_t cluster, std::set<uint64_t>* parents) {
  std::string begin = intent_key(inode_of(cluster, 0), 0);
  const std::string end = intent_key(inode_of(cluster, kInodeNumberMax), UINT64_MAX);
  for (size_t scans = 0; scans < kScansMax; ++scans) {
    GD2FS_CO_ASSIGN(const auto found, co_await tx.scan(begin, end, MetaTransaction::kScanMax));
    for (const auto& [key, value] : found) {
      GD2FS_CO_ASSIGN(const IntentRecord record, IntentRecord::decode(key, value));
      for (const HeldName& held : record.held) parents->insert(held.parent);
    }
    if (found.size() < MetaTransaction::kScanMax) co_return true;
    begin = found.back().key + '\0';
  }
  co_return false;
}

}  // namespace

Task<Status> check_nothing_held_below(MetaTransaction& tx, uint64_t directory, const Path& path) {
  const uint16_t cluster = cluster_of_inode(directory);
  std::set<uint64_t> parents;
  GD2FS_CO_ASSIGN(const bool all, co_await find_held(tx, cluster, &parents));
  if (!all) co_return path_error(StatusCode::busy, EAGAIN, path);
  std::set<uint64_t> elsewhere = {root_inode(cluster)};
  for (uint64_t at : parents) {
    while (!elsewhere.contains(at)) {
      if (at == directory || elsewhere.size() > kDirectoriesMax) {
        co_return path_error(StatusCode::busy, EAGAIN, path);
      }
      elsewhere.insert(at);  // unless it turns out to be below, and then all of this ends
      GD2FS_CO_ASSIGN(const InodeRecord record, co_await read_named_inode(tx, at));
      at = record.parent;
    }
  }
  co_return Status();
}

}  // namespace gd2fs
