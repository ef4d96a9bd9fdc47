// unlink: a file's name goes; its inode stays as a tombstone until the servers have dropped it.
#include <cerrno>

#include "meta/fences.h"
#include "meta/keys.h"
#include "meta/namespace.h"
#include "meta/path_mutation.h"
#include "meta/walk.h"

namespace gd2fs {

namespace {

class Unlink final : public PathMutation {
 public:
  Unlink(uint16_t cluster, const Path& path) : PathMutation(OperationCode::unlink, cluster, path) {}

  Task<Status> attempt(MetaTransaction& tx) override {
    GD2FS_CO_ASSIGN(const auto there, co_await read_dentry(tx, parent_, path_.last()));
    GD2FS_CO_TRY(check_name(there, path_));
    if (there->type != FileType::file) co_return path_error(StatusCode::invalid, EISDIR, path_);
    GD2FS_CO_ASSIGN(InodeRecord record, co_await read_named_inode(tx, there->inode));
    GD2FS_CO_TRY(check_not_held(record, path_));
    UsageDelta delta{.files = -1,
                     .size_bytes = -static_cast<int64_t>(record.size_bytes),
                     .reserved_bytes = -static_cast<int64_t>(record.reserved_bytes)};
    GD2FS_CO_TRY(co_await charge(tx, delta));
    const Intent intent = raise_tombstone(there->inode, record, now_us());
    put_dentry(tx, parent_, path_.last(), held_dentry({}, *there, 1));
    put_inode(tx, there->inode, record);
    std::vector<HeldName> held = {{parent_, std::string(path_.last())}};
    put_intent(tx, intent, std::move(held));
    answer.info = info_of(there->inode, record, cluster().namespace_epoch);
    co_return Status();
  }
};

}  // namespace

Task<Result<Mutated>> Namespace::unlink(uint16_t cluster, std::string path, MutationTag tag) {
  Path parsed;
  GD2FS_CO_TRY(parsed.parse(std::move(path), PathKind::any));
  if (parsed.is_root()) co_return fail(path_error(StatusCode::invalid, EISDIR, parsed));
  Unlink operation(cluster, parsed);
  GD2FS_CO_TRY(co_await core_->run(operation, tag));
  co_return std::move(operation.answer);
}

}  // namespace gd2fs
