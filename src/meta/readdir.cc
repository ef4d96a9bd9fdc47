// readdir: one page of a directory.
#include <algorithm>
#include <cerrno>

#include "meta/keys.h"
#include "meta/namespace.h"
#include "meta/namespace_core.h"
#include "meta/read_again.h"
#include "meta/walk.h"

namespace gd2fs {

namespace {

// Inodes asked for in one trip: as long as one takes, commits wait.
constexpr size_t kInodesPerTrip = 128;
// A name whose inode has gone may have got another one meanwhile: look again, so often.
constexpr int kLooksMax = 4;

struct Names {
  DirectoryPage page;
  std::vector<bool> held;  // and was there before
};

Task<Result<Names>> read_names(MetaTransaction& tx, uint16_t cluster, const Path& path,
                               const std::string& after, size_t limit) {
  GD2FS_CO_ASSIGN([[maybe_unused]] const ClusterRecord there, co_await read_cluster(tx, cluster));
  GD2FS_CO_ASSIGN(const DentryRecord directory, co_await walk_to(tx, cluster, path));
  if (directory.type != FileType::directory) {
    co_return fail(path_error(StatusCode::invalid, ENOTDIR, path));
  }
  std::string begin = dentry_key(directory.inode, after);
  if (!after.empty()) begin.push_back('\0');
  GD2FS_CO_ASSIGN(
      const auto found,
      co_await tx.scan(std::move(begin), dentry_key(directory.inode + 1, ""), limit + 1));
  Names names;
  DirectoryPage& page = names.page;
  page.more = found.size() > limit;
  for (const KeyValue& kv : found) {
    if (page.entries.size() == limit) break;
    GD2FS_CO_ASSIGN(DentryKey key, parse_dentry_key(kv.key));
    GD2FS_CO_ASSIGN(const DentryRecord record, DentryRecord::decode(kv.key, kv.value));
    // A held name is shown as it was; what was not there before is left out.
    const bool held = record.holds > 0;
    page.entries.push_back({.name = std::move(key.name),
                            .type = held ? record.was_type : record.type,
                            .inode = held ? record.was_inode : record.inode});
    names.held.push_back(held && record.was_type != FileType::none);
  }
  co_return names;
}

// Sizes of entries [begin, end); inode 0 marks what has gone.
Task<Status> read_sizes(MetaTransaction& tx, Names* names, size_t begin, size_t end) {
  std::vector<DirectoryEntry>* entries = &names->page.entries;
  std::vector<std::string> keys;
  for (size_t i = begin; i < end; ++i) keys.push_back(inode_key((*entries)[i].inode));
  GD2FS_CO_ASSIGN(const auto values, co_await tx.get_many(keys));
  for (size_t i = begin; i < end; ++i) {
    DirectoryEntry& entry = (*entries)[i];
    const auto& value = values[i - begin];
    if (!value) {
      // A directory that another one replaces has gone already, but still has its name.
      const bool shown = names->held[i] && entry.type == FileType::directory;
      if (!shown) entry.inode = 0;
      continue;
    }
    GD2FS_CO_ASSIGN(const InodeRecord record, InodeRecord::decode(keys[i - begin], *value));
    entry.size_bytes = record.size_bytes;
    entry.mtime_us = record.mtime_us;
  }
  co_return Status();
}

Task<Result<DirectoryPage>> read_page(MetaStore* store, uint16_t cluster, const Path& path,
                                      std::string after, size_t limit) {
  for (int look = 1;; ++look) {
    GD2FS_CO_ASSIGN(Names names, co_await read_again(*store, [&](MetaTransaction& tx) {
                      return read_names(tx, cluster, path, after, limit);
                    }));
    const size_t count = names.page.entries.size();
    for (size_t at = 0; at < count; at += kInodesPerTrip) {
      const size_t end = std::min(at + kInodesPerTrip, count);
      GD2FS_CO_TRY(co_await read_again(
          *store, [&](MetaTransaction& tx) { return read_sizes(tx, &names, at, end); }));
    }
    const auto gone = [](const DirectoryEntry& entry) { return entry.inode == 0; };
    if (std::ranges::none_of(names.page.entries, gone)) co_return std::move(names.page);
    if (look < kLooksMax) continue;
    // A file that another one replaces may be gone for good before its name is free. What it was
    // cannot be told any more, and what it will be not yet: the caller waits.
    for (size_t i = 0; i < count; ++i) {
      if (gone(names.page.entries[i]) && names.held[i]) {
        co_return fail(path_error(StatusCode::busy, EAGAIN, path));
      }
    }
    co_return std::move(names.page);
  }
}

}  // namespace

Task<Result<DirectoryPage>> Namespace::readdir(uint16_t cluster, std::string path,
                                               std::string after, size_t limit) {
  Path parsed;
  GD2FS_CO_TRY(parsed.parse(std::move(path), PathKind::directory));
  if (limit == 0 || limit > kReaddirMax || after.size() > kNameMaxBytes) {
    co_return fail(StatusCode::invalid, "readdir limit", EINVAL);
  }
  for (;;) {
    GD2FS_CO_ASSIGN(DirectoryPage page,
                    co_await read_page(&core_->store, cluster, parsed, after, limit));
    if (!page.entries.empty()) after = page.entries.back().name;
    std::erase_if(page.entries, [](const DirectoryEntry& entry) { return entry.inode == 0; });
    // All of them gone meanwhile: the caller could not go on without a last name.
    if (!page.entries.empty() || !page.more) co_return page;
  }
}

}  // namespace gd2fs
