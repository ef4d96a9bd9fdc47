// create, lookup_or_create: a new file, or for the latter the one that is there.
#include <cerrno>

#include "meta/keys.h"
#include "meta/namespace.h"
#include "meta/path_mutation.h"
#include "meta/walk.h"

namespace gd2fs {

namespace {

class CreateFile final : public PathMutation {
 public:
  CreateFile(NamespaceCore& core, OperationCode operation, uint16_t cluster, const Path& path,
             CreateOptions options)
      : PathMutation(operation, cluster, path),
        core_(core),
        exclusive_(operation == OperationCode::create),
        options_(options) {
    add_argument(options.size_bytes);
    add_argument(uint64_t{options.chunk_log2});
  }

  void expect(std::vector<std::string>* keys) const override {
    keys->push_back(inode_key(parent_));
    PathMutation::expect(keys);
  }

  Task<Status> attempt(MetaTransaction& tx) override {
    GD2FS_CO_ASSIGN(const auto parent, co_await read_inode(tx, parent_));
    if (!parent) co_return path_error(StatusCode::not_found, ENOENT, path_);
    GD2FS_CO_ASSIGN(const auto there, co_await read_dentry(tx, parent_, path_.last()));
    GD2FS_CO_TRY(check_not_held(there, path_));
    if (!there) co_return co_await make(tx);
    if (exclusive_) co_return path_error(StatusCode::exists, EEXIST, path_);
    co_return co_await open(tx, *there);
  }

 private:
  Task<Status> make(MetaTransaction& tx) {
    InodeRecord record;
    record.type = FileType::file;
    record.chunk_log2 =
        options_.chunk_log2 != 0 ? options_.chunk_log2 : cluster().policy.chunk_log2;
    record.layout_version = options_.layout_version;
    record.size_bytes = options_.size_bytes;
    record.reserved_bytes = options_.size_bytes;
    record.mtime_us = now_us();
    record.ctime_us = now_us();
    record.parent = parent_;
    record.name = path_.last();
    if (record.size_bytes > file_max_bytes(record.chunk_log2)) {
      co_return path_error(StatusCode::invalid, EFBIG, path_);
    }
    if (inode_ == 0) {
      GD2FS_CO_ASSIGN(inode_, co_await core_.inodes.take(cluster_id()));
    }
    const auto size_bytes = static_cast<int64_t>(record.size_bytes);
    UsageDelta delta{.files = 1, .size_bytes = size_bytes, .reserved_bytes = size_bytes};
    GD2FS_CO_TRY(co_await charge(tx, delta));
    put_dentry(tx, parent_, path_.last(), {.type = FileType::file, .inode = inode_});
    put_inode(tx, inode_, record);
    answer.info = info_of(inode_, record, cluster().namespace_epoch);
    created_ = true;
    co_return Status();
  }

  Task<Status> open(MetaTransaction& tx, DentryRecord there) {
    if (there.type != FileType::file) co_return path_error(StatusCode::invalid, EISDIR, path_);
    GD2FS_CO_ASSIGN(const InodeRecord record, co_await read_named_inode(tx, there.inode));
    GD2FS_CO_TRY(check_not_held(record, path_));
    answer.info = info_of(there.inode, record, cluster().namespace_epoch);
    created_ = false;
    set_only_read();
    co_return Status();
  }

  NamespaceCore& core_;
  bool exclusive_;
  CreateOptions options_;
  uint64_t inode_ = 0;  // taken once, kept for the next attempt

 public:
  bool created_ = false;
};

Status check_options(const CreateOptions& options) {
  const uint8_t chunk_log2 = options.chunk_log2;
  if (chunk_log2 == 0 || (chunk_log2 >= kChunkLog2Min && chunk_log2 <= kChunkLog2Max)) return {};
  return {StatusCode::invalid, "chunk size", EINVAL};
}

}  // namespace

Task<Result<Mutated>> Namespace::create(uint16_t cluster, std::string path, CreateOptions options,
                                        MutationTag tag) {
  Path parsed;
  GD2FS_CO_TRY(parsed.parse(std::move(path), PathKind::file));
  GD2FS_CO_TRY(check_options(options));
  CreateFile operation(*core_, OperationCode::create, cluster, parsed, options);
  GD2FS_CO_TRY(co_await core_->run(operation, tag));
  co_return std::move(operation.answer);
}

Task<Result<Looked>> Namespace::lookup_or_create(uint16_t cluster, std::string path,
                                                 CreateOptions options, MutationTag tag) {
  Path parsed;
  GD2FS_CO_TRY(parsed.parse(std::move(path), PathKind::file));
  GD2FS_CO_TRY(check_options(options));
  CreateFile operation(*core_, OperationCode::lookup_or_create, cluster, parsed, options);
  GD2FS_CO_TRY(co_await core_->run(operation, tag));
  co_return Looked{operation.answer.info, operation.created_ || operation.answer.replayed};
}

}  // namespace gd2fs
