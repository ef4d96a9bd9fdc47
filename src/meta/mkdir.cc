// mkdir: a new, empty directory.
#include <cerrno>

#include "meta/keys.h"
#include "meta/namespace.h"
#include "meta/path_mutation.h"
#include "meta/walk.h"

namespace gd2fs {

namespace {

class MakeDirectory final : public PathMutation {
 public:
  MakeDirectory(NamespaceCore& core, uint16_t cluster, const Path& path)
      : PathMutation(OperationCode::mkdir, cluster, path), core_(core) {}

  void expect(std::vector<std::string>* keys) const override {
    keys->push_back(inode_key(parent_));
    PathMutation::expect(keys);
  }

  Task<Status> attempt(MetaTransaction& tx) override {
    GD2FS_CO_ASSIGN(const auto parent, co_await read_inode(tx, parent_));
    if (!parent) co_return path_error(StatusCode::not_found, ENOENT, path_);
    GD2FS_CO_ASSIGN(const auto there, co_await read_dentry(tx, parent_, path_.last()));
    GD2FS_CO_TRY(check_not_held(there, path_));
    if (there) co_return path_error(StatusCode::exists, EEXIST, path_);
    if (inode_ == 0) {
      GD2FS_CO_ASSIGN(inode_, co_await core_.inodes.take(cluster_id()));
    }
    UsageDelta delta{.directories = 1};
    GD2FS_CO_TRY(co_await charge(tx, delta));
    InodeRecord record;
    record.type = FileType::directory;
    record.mtime_us = now_us();
    record.ctime_us = now_us();
    record.parent = parent_;
    record.name = path_.last();
    put_dentry(tx, parent_, path_.last(), {.type = FileType::directory, .inode = inode_});
    put_inode(tx, inode_, record);
    answer.info = info_of(inode_, record, cluster().namespace_epoch);
    co_return Status();
  }

 private:
  NamespaceCore& core_;
  uint64_t inode_ = 0;
};

}  // namespace

Task<Result<Mutated>> Namespace::mkdir(uint16_t cluster, std::string path, MutationTag tag) {
  Path parsed;
  GD2FS_CO_TRY(parsed.parse(std::move(path), PathKind::directory));
  if (parsed.is_root()) co_return fail(path_error(StatusCode::exists, EEXIST, parsed));
  MakeDirectory operation(*core_, cluster, parsed);
  GD2FS_CO_TRY(co_await core_->run(operation, tag));
  co_return std::move(operation.answer);
}

}  // namespace gd2fs
