// usage_of: the sum of a directory tree, page by page, so that neither its size nor its depth needs
// memory in proportion.
#include <cerrno>

#include "meta/keys.h"
#include "meta/namespace.h"
#include "meta/namespace_core.h"
#include "meta/read_again.h"
#include "meta/walk.h"

namespace gd2fs {

namespace {

constexpr size_t kEntriesPerPage = 256;

struct Level {
  uint64_t inode = 0;
  std::string after;  // a key of the dentry table; "" = from the start
};

struct TreePage {
  std::vector<DentryRecord> entries;
  std::string last_key;  // "" = the directory has no more
};

Task<Result<DentryRecord>> find(MetaTransaction& tx, uint16_t cluster, const Path& path) {
  GD2FS_CO_ASSIGN([[maybe_unused]] const ClusterRecord there, co_await read_cluster(tx, cluster));
  co_return co_await walk_to(tx, cluster, path);
}

// Up to and with the first directory, which the caller descends into before it asks for more.
Task<Result<TreePage>> read_tree_page(MetaTransaction& tx, const Level& level) {
  std::string begin = level.after.empty() ? dentry_key(level.inode, "") : level.after + '\0';
  GD2FS_CO_ASSIGN(
      const auto found,
      co_await tx.scan(std::move(begin), dentry_key(level.inode + 1, ""), kEntriesPerPage));
  TreePage page;
  if (found.size() == kEntriesPerPage) page.last_key = found.back().key;
  for (const KeyValue& kv : found) {
    GD2FS_CO_ASSIGN(const DentryRecord record, DentryRecord::decode(kv.key, kv.value));
    if (record.type == FileType::none) continue;  // on its way out
    page.entries.push_back(record);
    if (record.type == FileType::directory) {
      page.last_key = kv.key;
      break;
    }
  }
  co_return page;
}

Task<Result<ClusterUsage>> sum_files(MetaTransaction& tx,
                                     const std::vector<DentryRecord>& entries) {
  ClusterUsage sum;
  std::vector<std::string> keys;
  for (const DentryRecord& entry : entries) {
    if (entry.type == FileType::file) keys.push_back(inode_key(entry.inode));
  }
  if (keys.empty()) co_return sum;
  GD2FS_CO_ASSIGN(const auto values, co_await tx.get_many(keys));
  for (size_t i = 0; i < keys.size(); ++i) {
    if (!values[i]) continue;  // gone meanwhile
    GD2FS_CO_ASSIGN(const InodeRecord record, InodeRecord::decode(keys[i], *values[i]));
    if (record.unlinked) continue;
    ++sum.files;
    sum.size_bytes += record.size_bytes;
    sum.reserved_bytes += record.reserved_bytes;
  }
  co_return sum;
}

}  // namespace

Task<Result<ClusterUsage>> Namespace::usage_of(uint16_t cluster, std::string path) {
  Path parsed;
  GD2FS_CO_TRY(parsed.parse(std::move(path), PathKind::directory));
  GD2FS_CO_ASSIGN(const DentryRecord top,
                  co_await read_again(core_->store, [&](MetaTransaction& tx) {
                    return find(tx, cluster, parsed);
                  }));
  ClusterUsage sum;
  if (top.type == FileType::file) {
    const std::vector<DentryRecord> only = {top};
    co_return co_await read_again(core_->store,
                                  [&](MetaTransaction& tx) { return sum_files(tx, only); });
  }
  std::vector<Level> levels = {{top.inode, ""}};
  while (!levels.empty()) {
    GD2FS_CO_ASSIGN(const TreePage page,
                    co_await read_again(core_->store, [&](MetaTransaction& tx) {
                      return read_tree_page(tx, levels.back());
                    }));
    GD2FS_CO_ASSIGN(const ClusterUsage files,
                    co_await read_again(core_->store, [&](MetaTransaction& tx) {
                      return sum_files(tx, page.entries);
                    }));
    sum.files += files.files;
    sum.size_bytes += files.size_bytes;
    sum.reserved_bytes += files.reserved_bytes;
    levels.back().after = page.last_key;
    if (page.last_key.empty()) levels.pop_back();
    if (!page.entries.empty() && page.entries.back().type == FileType::directory) {
      ++sum.directories;
      levels.push_back({page.entries.back().inode, ""});
    }
  }
  co_return sum;
}

}  // namespace gd2fs
