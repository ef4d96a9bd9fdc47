// Walk: reading the namespace's records by name, shared by all operations. What it reads counts as
// read by the transaction it is given. Thread rule: the Namespace's loop.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "loop/task.h"
#include "meta/meta_store.h"
#include "meta/records.h"
#include "wire/path.h"

namespace gd2fs {

// A checked path with its components. Neither copied nor moved, as the components point into it.
class Path {
 public:
  Path() = default;
  Path(const Path&) = delete;
  Path& operator=(const Path&) = delete;
  Status parse(std::string text, PathKind kind);
  const std::string& text() const { return text_; }
  const std::vector<std::string_view>& names() const { return names_; }
  bool is_root() const { return names_.empty(); }
  std::string_view last() const { return names_.back(); }

 private:
  std::string text_;
  std::vector<std::string_view> names_;
};

// What a failure about a path says.
Status path_error(StatusCode code, int errno_value, const Path& path);

// not_found if there is no such cluster.
Task<Result<ClusterRecord>> read_cluster(MetaTransaction& tx, uint16_t cluster);
Task<Result<std::optional<DentryRecord>>> read_dentry(MetaTransaction& tx, uint64_t parent,
                                                      std::string_view name);
// nullopt if it is not there; a tombstone counts as not there.
Task<Result<std::optional<InodeRecord>>> read_inode(MetaTransaction& tx, uint64_t inode);
// Of an inode that a dentry names: corrupt if it is not there.
Task<Result<InodeRecord>> read_named_inode(MetaTransaction& tx, uint64_t inode);
void put_inode(MetaTransaction& tx, uint64_t inode, const InodeRecord& record);
void put_dentry(MetaTransaction& tx, uint64_t parent, std::string_view name, DentryRecord record);
// ENOTEMPTY, or busy if only held names are left in it.
Task<Status> check_empty(MetaTransaction& tx, uint64_t directory, const Path& path);

// busy if an intent that is not settled holds the name; not_found if there is none.
Status check_name(const std::optional<DentryRecord>& dentry, const Path& path);
// The same, but a name that is free is ok.
Status check_not_held(const std::optional<DentryRecord>& dentry, const Path& path);
// busy if the inode is held.
Status check_not_held(const InodeRecord& inode, const Path& path);

// The directories that lead to the path's last component, the root first, its parent last.
// not_found: one is missing; ENOTDIR: one is a file; busy: one is held.
Task<Result<std::vector<uint64_t>>> walk_to_parent(MetaTransaction& tx, uint16_t cluster,
                                                   const Path& path);
// The path itself; fails in the same ways.
Task<Result<DentryRecord>> walk_to(MetaTransaction& tx, uint16_t cluster, const Path& path);

// The most bytes that a file of such chunks can have: chunk numbers have 32 bits.
uint64_t file_max_bytes(uint8_t chunk_log2);

}  // namespace gd2fs
