// set_pinned: whether the servers are to keep a file in memory.
#include <cerrno>

#include "meta/keys.h"
#include "meta/namespace.h"
#include "meta/path_mutation.h"
#include "meta/walk.h"

namespace gd2fs {

namespace {

class SetPinned final : public PathMutation {
 public:
  SetPinned(uint16_t cluster, const Path& path, bool pinned)
      : PathMutation(OperationCode::set_pinned, cluster, path), pinned_(pinned) {
    add_argument(pinned ? 1 : 0);
  }

  Task<Status> attempt(MetaTransaction& tx) override {
    GD2FS_CO_ASSIGN(const auto there, co_await read_dentry(tx, parent_, path_.last()));
    GD2FS_CO_TRY(check_name(there, path_));
    if (there->type != FileType::file) co_return path_error(StatusCode::invalid, EISDIR, path_);
    GD2FS_CO_ASSIGN(InodeRecord record, co_await read_named_inode(tx, there->inode));
    GD2FS_CO_TRY(check_not_held(record, path_));
    const bool was_pinned = (record.attributes & InodeRecord::kPinned) != 0;
    if (was_pinned == pinned_) {
      set_only_read();
    } else {
      record.attributes ^= InodeRecord::kPinned;
      put_inode(tx, there->inode, record);
    }
    answer.info = info_of(there->inode, record, cluster().namespace_epoch);
    co_return Status();
  }

 private:
  bool pinned_;
};

}  // namespace

Task<Result<Mutated>> Namespace::set_pinned(uint16_t cluster, std::string path, bool pinned,
                                            MutationTag tag) {
  Path parsed;
  GD2FS_CO_TRY(parsed.parse(std::move(path), PathKind::any));
  if (parsed.is_root()) co_return fail(path_error(StatusCode::invalid, EISDIR, parsed));
  SetPinned operation(cluster, parsed, pinned);
  GD2FS_CO_TRY(co_await core_->run(operation, tag));
  co_return std::move(operation.answer);
}

}  // namespace gd2fs
