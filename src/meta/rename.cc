// rename: a file or a directory gets another name or place, replacing what may be replaced there,
// in one step. A file's generation grows, because caches know it under its old name; a directory's
// rename raises the cluster's namespace epoch, because it changes what every path below it means.
#include <algorithm>
#include <cerrno>

#include "meta/fences.h"
#include "meta/held_below.h"
#include "meta/keys.h"
#include "meta/namespace.h"
#include "meta/namespace_core.h"
#include "meta/walk.h"

namespace gd2fs {

namespace {

class Rename final : public Mutation {
 public:
  Rename(MetaStore& store, uint16_t cluster, const Path& from, const Path& to)
      : Mutation(OperationCode::rename, cluster),
        store_(store),
        cluster_id_(cluster),
        from_(from),
        to_(to) {
    add_argument(from.text());
    add_argument(to.text());
  }

  Task<Status> resolve(MetaTransaction& walk) override {
    GD2FS_CO_ASSIGN(const auto from, co_await walk_to_parent(walk, cluster_id_, from_));
    GD2FS_CO_ASSIGN(to_directories_, co_await walk_to_parent(walk, cluster_id_, to_));
    from_parent_ = from.back();
    to_parent_ = to_directories_.back();
    GD2FS_CO_ASSIGN(const auto moved, co_await read_dentry(walk, from_parent_, from_.last()));
    free_below_ = 0;
    if (!moved || moved->type != FileType::directory) co_return Status();
    GD2FS_CO_TRY(co_await check_nothing_held_below(store_, moved->inode, from_));
    free_below_ = moved->inode;
    co_return Status();
  }

  void expect(std::vector<std::string>* keys) const override {
    keys->push_back(inode_key(to_parent_));
    keys->push_back(dentry_key(from_parent_, from_.last()));
    keys->push_back(dentry_key(to_parent_, to_.last()));
  }

  Task<Status> attempt(MetaTransaction& tx) override {
    GD2FS_CO_ASSIGN(const auto moved, co_await read_dentry(tx, from_parent_, from_.last()));
    GD2FS_CO_TRY(check_name(moved, from_));
    GD2FS_CO_ASSIGN(const auto to_parent, co_await read_inode(tx, to_parent_));
    if (!to_parent) co_return path_error(StatusCode::not_found, ENOENT, to_);
    GD2FS_CO_ASSIGN(InodeRecord record, co_await read_named_inode(tx, moved->inode));
    GD2FS_CO_TRY(check_not_held(record, from_));
    GD2FS_CO_ASSIGN(const auto replaced, co_await read_dentry(tx, to_parent_, to_.last()));
    GD2FS_CO_TRY(check_not_held(replaced, to_));
    if (replaced && replaced->inode == moved->inode) {  // the same name: nothing to do
      answer.info = info_of(moved->inode, record, cluster().namespace_epoch);
      set_only_read();
      co_return Status();
    }
    if (std::ranges::find(to_directories_, moved->inode) != to_directories_.end()) {
      co_return path_error(StatusCode::invalid, EINVAL, to_);  // into itself
    }
    if (moved->type == FileType::directory && moved->inode != free_below_) {
      co_return path_error(StatusCode::busy, EAGAIN, from_);  // another one took its name
    }
    if (replaced) {
      GD2FS_CO_TRY(co_await replace(tx, moved->type, *replaced));
    }
    // Both names are held by the moved one's intent and by that of a file it replaces: they are
    // told of together.
    const uint8_t holds = replaced && replaced->type == FileType::file ? 2 : 1;
    put_dentry(tx, from_parent_, from_.last(), held_dentry({}, *moved, holds));
    put_dentry(tx, to_parent_, to_.last(),
               held_dentry(*moved, replaced.value_or(DentryRecord()), holds));
    std::vector<HeldName> held = {{from_parent_, std::string(from_.last())},
                                  {to_parent_, std::string(to_.last())}};
    record.parent = to_parent_;
    record.name = to_.last();
    record.ctime_us = now_us();
    if (moved->type == FileType::file) {
      put_intent(tx, raise_generation(moved->inode, record, UINT64_MAX), std::move(held));
    } else {
      put_intent(tx, raise_namespace_epoch(cluster_record()), std::move(held));
      const std::string key = cluster_key(cluster_id_);
      tx.put(key, cluster_record().encode(key));
    }
    put_inode(tx, moved->inode, record);
    answer.info = info_of(moved->inode, record, cluster().namespace_epoch);
    co_return Status();
  }

 private:
  Task<Status> replace(MetaTransaction& tx, FileType by, DentryRecord replaced) {
    if (by == FileType::file && replaced.type == FileType::directory) {
      co_return path_error(StatusCode::invalid, EISDIR, to_);
    }
    if (by == FileType::directory && replaced.type == FileType::file) {
      co_return path_error(StatusCode::invalid, ENOTDIR, to_);
    }
    GD2FS_CO_ASSIGN(InodeRecord record, co_await read_named_inode(tx, replaced.inode));
    if (replaced.type == FileType::directory) {
      GD2FS_CO_TRY(co_await check_empty(tx, replaced.inode, to_));
      tx.remove(inode_key(replaced.inode));
      UsageDelta directory{.directories = -1};
      co_return co_await charge(tx, directory);
    }
    UsageDelta file{.files = -1,
                    .size_bytes = -static_cast<int64_t>(record.size_bytes),
                    .reserved_bytes = -static_cast<int64_t>(record.reserved_bytes)};
    GD2FS_CO_TRY(check_not_held(record, to_));
    std::vector<HeldName> held = {{from_parent_, std::string(from_.last())},
                                  {to_parent_, std::string(to_.last())}};
    put_intent(tx, raise_tombstone(replaced.inode, record, now_us()), std::move(held));
    put_inode(tx, replaced.inode, record);
    co_return co_await charge(tx, file);
  }

  MetaStore& store_;
  uint16_t cluster_id_;
  const Path& from_;
  const Path& to_;
  std::vector<uint64_t> to_directories_;
  uint64_t from_parent_ = 0;
  uint64_t to_parent_ = 0;
  uint64_t free_below_ = 0;  // the directory below which no name was held
};

}  // namespace

Task<Result<Mutated>> Namespace::rename(uint16_t cluster, std::string from, std::string to,
                                        MutationTag tag) {
  Path parsed_from;
  Path parsed_to;
  GD2FS_CO_TRY(parsed_from.parse(std::move(from), PathKind::any));
  GD2FS_CO_TRY(parsed_to.parse(std::move(to), PathKind::any));
  if (parsed_from.is_root()) co_return fail(path_error(StatusCode::invalid, EBUSY, parsed_from));
  if (parsed_to.is_root()) co_return fail(path_error(StatusCode::invalid, EBUSY, parsed_to));
  Rename operation(core_->store, cluster, parsed_from, parsed_to);
  GD2FS_CO_TRY(co_await core_->run(operation, tag));
  co_return std::move(operation.answer);
}

}  // namespace gd2fs
