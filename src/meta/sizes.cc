// reserve, set_size, release_reservation: what follows I/O, by inode. All are idempotent, so a late
// duplicate does no harm: a size or reservation only grows within one generation. A reservation is
// answered before it is durable (docs/decisions/026-reservations.md).
#include <algorithm>
#include <cerrno>

#include "meta/keys.h"
#include "meta/namespace.h"
#include "meta/namespace_core.h"
#include "meta/read_again.h"
#include "meta/walk.h"

namespace gd2fs {

namespace {

Status inode_error(StatusCode code, int errno_value, uint64_t inode) {
  return {code, "inode " + std::to_string(inode), errno_value};
}

class Resize final : public Mutation {
 public:
  enum class To : uint8_t { reserve, size, release };
  Resize(uint64_t inode, uint64_t generation, To to, uint64_t end_bytes)
      : Mutation(OperationCode::none, cluster_of_inode(inode)),
        inode_(inode),
        generation_(generation),
        to_(to),
        end_bytes_(end_bytes) {}

  void expect(std::vector<std::string>* keys) const override { keys->push_back(inode_key(inode_)); }

  Task<Status> attempt(MetaTransaction& tx) override {
    GD2FS_CO_ASSIGN(auto found, co_await read_inode(tx, inode_));
    if (!found || found->generation != generation_) {
      co_return inode_error(StatusCode::stale, ESTALE, inode_);
    }
    InodeRecord& record = *found;
    if (record.type != FileType::file) co_return inode_error(StatusCode::invalid, EISDIR, inode_);
    if (record.pending_generation != 0) co_return inode_error(StatusCode::busy, EAGAIN, inode_);
    if (end_bytes_ > file_max_bytes(record.chunk_log2)) {
      co_return inode_error(StatusCode::invalid, EFBIG, inode_);
    }
    const InodeRecord before = record;
    resize(record);
    answer.info = info_of(inode_, record, cluster().namespace_epoch);
    UsageDelta delta{.size_bytes = difference(record.size_bytes, before.size_bytes),
                     .reserved_bytes = difference(record.reserved_bytes, before.reserved_bytes)};
    if (delta.size_bytes == 0 && delta.reserved_bytes == 0) {
      set_only_read();
      co_return Status();
    }
    GD2FS_CO_TRY(co_await charge(tx, delta));
    // A reservation that a crash takes back is charged again by the size that follows.
    if (to_ == To::reserve) tx.answer_when_decided();
    put_inode(tx, inode_, record);
    co_return Status();
  }

 private:
  static int64_t difference(uint64_t after, uint64_t before) {
    return static_cast<int64_t>(after) - static_cast<int64_t>(before);
  }

  void resize(InodeRecord& record) const {
    switch (to_) {
      case To::reserve:
        record.reserved_bytes = std::max(record.reserved_bytes, end_bytes_);
        break;
      case To::size:
        if (end_bytes_ <= record.size_bytes) break;
        record.size_bytes = end_bytes_;
        record.reserved_bytes = std::max(record.reserved_bytes, end_bytes_);
        record.mtime_us = now_us();
        break;
      case To::release:
        record.reserved_bytes = record.size_bytes;
        break;
    }
  }

  uint64_t inode_;
  uint64_t generation_;
  To to_;
  uint64_t end_bytes_;
};

Task<Result<InodeInfo>> run_resize(NamespaceCore& core, uint64_t inode, uint64_t generation,
                                   Resize::To to, uint64_t end_bytes) {
  Resize operation(inode, generation, to, end_bytes);
  GD2FS_CO_TRY(co_await core.run_untagged(operation));
  co_return operation.answer.info;
}

}  // namespace

Task<Result<InodeInfo>> Namespace::reserve(uint64_t inode, uint64_t generation,
                                           uint64_t end_bytes) {
  return run_resize(*core_, inode, generation, Resize::To::reserve, end_bytes);
}

Task<Result<InodeInfo>> Namespace::set_size(uint64_t inode, uint64_t generation,
                                            uint64_t end_bytes) {
  return run_resize(*core_, inode, generation, Resize::To::size, end_bytes);
}

Task<Result<InodeInfo>> Namespace::release_reservation(uint64_t inode, uint64_t generation) {
  return run_resize(*core_, inode, generation, Resize::To::release, 0);
}

}  // namespace gd2fs
