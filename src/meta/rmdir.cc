// rmdir: an empty directory goes, at once and for ever.
#include <cerrno>

#include "meta/keys.h"
#include "meta/namespace.h"
#include "meta/path_mutation.h"
#include "meta/walk.h"

namespace gd2fs {

namespace {

class RemoveDirectory final : public PathMutation {
 public:
  RemoveDirectory(uint16_t cluster, const Path& path)
      : PathMutation(OperationCode::rmdir, cluster, path) {}

  Task<Status> attempt(MetaTransaction& tx) override {
    GD2FS_CO_ASSIGN(const auto there, co_await read_dentry(tx, parent_, path_.last()));
    GD2FS_CO_TRY(check_name(there, path_));
    if (there->type != FileType::directory) {
      co_return path_error(StatusCode::invalid, ENOTDIR, path_);
    }
    GD2FS_CO_ASSIGN(const InodeRecord record, co_await read_named_inode(tx, there->inode));
    GD2FS_CO_TRY(co_await check_empty(tx, there->inode, path_));
    UsageDelta delta{.directories = -1};
    GD2FS_CO_TRY(co_await charge(tx, delta));
    tx.remove(dentry_key(parent_, path_.last()));
    tx.remove(inode_key(there->inode));  // whoever creates in it has read this key
    answer.info = info_of(there->inode, record, cluster().namespace_epoch);
    co_return Status();
  }
};

}  // namespace

Task<Result<Mutated>> Namespace::rmdir(uint16_t cluster, std::string path, MutationTag tag) {
  Path parsed;
  GD2FS_CO_TRY(parsed.parse(std::move(path), PathKind::directory));
  if (parsed.is_root()) co_return fail(path_error(StatusCode::invalid, EBUSY, parsed));
  RemoveDirectory operation(cluster, parsed);
  GD2FS_CO_TRY(co_await core_->run(operation, tag));
  co_return std::move(operation.answer);
}

}  // namespace gd2fs
