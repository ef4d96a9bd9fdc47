// truncate: a new size, shorter or longer. The servers drop what lies behind it before anyone may
// use the new generation. What lies between the old end and a new one further out stays: it is of
// writes whose bytes are durable and whose size is still to come, and which will be acknowledged as
// ordered before the truncate.
#include <cerrno>

#include "meta/fences.h"
#include "meta/keys.h"
#include "meta/namespace.h"
#include "meta/path_mutation.h"
#include "meta/walk.h"

namespace gd2fs {

namespace {

class Truncate final : public PathMutation {
 public:
  Truncate(uint16_t cluster, const Path& path, uint64_t size_bytes)
      : PathMutation(OperationCode::truncate, cluster, path), size_bytes_(size_bytes) {
    add_argument(size_bytes);
  }

  Task<Status> attempt(MetaTransaction& tx) override {
    GD2FS_CO_ASSIGN(const auto there, co_await read_dentry(tx, parent_, path_.last()));
    GD2FS_CO_TRY(check_name(there, path_));
    if (there->type != FileType::file) co_return path_error(StatusCode::invalid, EISDIR, path_);
    GD2FS_CO_ASSIGN(InodeRecord record, co_await read_named_inode(tx, there->inode));
    if (size_bytes_ > file_max_bytes(record.chunk_log2)) {
      co_return path_error(StatusCode::invalid, EFBIG, path_);
    }
    GD2FS_CO_TRY(check_not_held(record, path_));
    const auto size_bytes = static_cast<int64_t>(size_bytes_);
    UsageDelta delta{.size_bytes = size_bytes - static_cast<int64_t>(record.size_bytes),
                     .reserved_bytes = size_bytes - static_cast<int64_t>(record.reserved_bytes)};
    GD2FS_CO_TRY(co_await charge(tx, delta));
    const Intent intent = raise_generation(there->inode, record, size_bytes_);
    record.size_bytes = size_bytes_;
    record.reserved_bytes = size_bytes_;
    record.mtime_us = now_us();
    record.ctime_us = now_us();
    put_inode(tx, there->inode, record);
    put_intent(tx, intent, {});
    answer.info = info_of(there->inode, record, cluster().namespace_epoch);
    co_return Status();
  }

 private:
  uint64_t size_bytes_;
};

}  // namespace

Task<Result<Mutated>> Namespace::truncate(uint16_t cluster, std::string path, uint64_t size_bytes,
                                          MutationTag tag) {
  Path parsed;
  GD2FS_CO_TRY(parsed.parse(std::move(path), PathKind::any));
  if (parsed.is_root()) co_return fail(path_error(StatusCode::invalid, EISDIR, parsed));
  Truncate operation(cluster, parsed, size_bytes);
  GD2FS_CO_TRY(co_await core_->run(operation, tag));
  co_return std::move(operation.answer);
}

}  // namespace gd2fs
