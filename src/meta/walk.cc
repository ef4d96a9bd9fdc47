#include "meta/walk.h"

#include <cerrno>

#include "meta/inode_ranges.h"
#include "meta/keys.h"

namespace gd2fs {

Status Path::parse(std::string text, PathKind kind) {
  text_ = std::move(text);
  auto names = split_path(text_, kind);
  if (!names) return names.error();
  names_ = std::move(*names);
  return {};
}

Status path_error(StatusCode code, int errno_value, const Path& path) {
  return {code, path.text(), errno_value};
}

Task<Result<ClusterRecord>> read_cluster(MetaTransaction& tx, uint16_t cluster) {
  const std::string key = cluster_key(cluster);
  GD2FS_CO_ASSIGN(const auto value, co_await tx.get(key));
  if (!value) co_return fail(StatusCode::not_found, "no such cluster", ENOENT);
  co_return ClusterRecord::decode(key, *value);
}

Task<Result<std::optional<DentryRecord>>> read_dentry(MetaTransaction& tx, uint64_t parent,
                                                      std::string_view name) {
  const std::string key = dentry_key(parent, name);
  GD2FS_CO_ASSIGN(const auto value, co_await tx.get(key));
  if (!value) co_return std::nullopt;
  GD2FS_CO_ASSIGN(const DentryRecord record, DentryRecord::decode(key, *value));
  co_return record;
}

Task<Result<std::optional<InodeRecord>>> read_inode(MetaTransaction& tx, uint64_t inode) {
  const std::string key = inode_key(inode);
  GD2FS_CO_ASSIGN(const auto value, co_await tx.get(key));
  if (!value) co_return std::nullopt;
  GD2FS_CO_ASSIGN(InodeRecord record, InodeRecord::decode(key, *value));
  if (record.unlinked) co_return std::nullopt;
  co_return std::move(record);
}

Task<Result<InodeRecord>> read_named_inode(MetaTransaction& tx, uint64_t inode) {
  GD2FS_CO_ASSIGN(auto record, co_await read_inode(tx, inode));
  if (!record) {
    co_return fail(StatusCode::corrupt, "a name without its inode " + std::to_string(inode));
  }
  co_return std::move(*record);
}

void put_inode(MetaTransaction& tx, uint64_t inode, const InodeRecord& record) {
  const std::string key = inode_key(inode);
  tx.put(key, record.encode(key));
}

void put_dentry(MetaTransaction& tx, uint64_t parent, std::string_view name, DentryRecord record) {
  const std::string key = dentry_key(parent, name);
  tx.put(key, record.encode(key));
}

namespace {

// A held name counts once it is settled, and listings leave it out until then: neither "empty" nor
// "not empty" may be said before, unless both what it was and what it will be are something.
bool surely_there(const DentryRecord& dentry) {
  return dentry.type != FileType::none && (dentry.holds == 0 || dentry.was_type != FileType::none);
}

}  // namespace

Task<Status> check_empty(MetaTransaction& tx, uint64_t directory, const Path& path) {
  constexpr size_t kNamesLooked = 64;  // however many are coming or going
  GD2FS_CO_ASSIGN(const auto names, co_await tx.scan(dentry_key(directory, ""),
                                                     dentry_key(directory + 1, ""), kNamesLooked));
  for (const auto& [key, value] : names) {
    GD2FS_CO_ASSIGN(const DentryRecord dentry, DentryRecord::decode(key, value));
    if (surely_there(dentry)) co_return path_error(StatusCode::invalid, ENOTEMPTY, path);
  }
  co_return names.empty() ? Status() : path_error(StatusCode::busy, EAGAIN, path);
}

Status check_not_held(const std::optional<DentryRecord>& dentry, const Path& path) {
  if (dentry && dentry->holds > 0) return path_error(StatusCode::busy, EAGAIN, path);
  return {};
}

Status check_name(const std::optional<DentryRecord>& dentry, const Path& path) {
  if (!dentry) return path_error(StatusCode::not_found, ENOENT, path);
  return check_not_held(dentry, path);
}

Status check_not_held(const InodeRecord& inode, const Path& path) {
  return inode.pending_generation == 0 ? Status() : path_error(StatusCode::busy, EAGAIN, path);
}

Task<Result<std::vector<uint64_t>>> walk_to_parent(MetaTransaction& tx, uint16_t cluster,
                                                   const Path& path) {
  std::vector<uint64_t> directories = {root_inode(cluster)};
  for (size_t i = 0; i + 1 < path.names().size(); ++i) {
    GD2FS_CO_ASSIGN(const auto dentry,
                    co_await read_dentry(tx, directories.back(), path.names()[i]));
    GD2FS_CO_TRY(check_name(dentry, path));
    if (dentry->type != FileType::directory) {
      co_return fail(path_error(StatusCode::invalid, ENOTDIR, path));
    }
    directories.push_back(dentry->inode);
  }
  co_return directories;
}

Task<Result<DentryRecord>> walk_to(MetaTransaction& tx, uint16_t cluster, const Path& path) {
  if (path.is_root())
    co_return DentryRecord{.type = FileType::directory, .inode = root_inode(cluster)};
  GD2FS_CO_ASSIGN(const auto directories, co_await walk_to_parent(tx, cluster, path));
  GD2FS_CO_ASSIGN(const auto dentry, co_await read_dentry(tx, directories.back(), path.last()));
  GD2FS_CO_TRY(check_name(dentry, path));
  co_return *dentry;
}

uint64_t file_max_bytes(uint8_t chunk_log2) {
  return (uint64_t{1} << 32) << chunk_log2;
}

}  // namespace gd2fs
