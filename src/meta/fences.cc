#include "meta/fences.h"

#include "meta/inode_ranges.h"
#include "meta/keys.h"
#include "meta/walk.h"

namespace gd2fs {

Intent raise_generation(uint64_t inode, InodeRecord& record, uint64_t keep_bytes) {
  record.pending_generation = ++record.generation;
  return {.inode = inode,
          .generation = record.generation,
          .keep_bytes = keep_bytes,
          .chunk_log2 = record.chunk_log2};
}

Intent raise_tombstone(uint64_t inode, InodeRecord& record, uint64_t now_us) {
  record.pending_generation = ++record.generation;
  record.unlinked = true;
  record.ctime_us = now_us;
  return {.inode = inode,
          .generation = record.generation,
          .keep_bytes = 0,
          .chunk_log2 = record.chunk_log2,
          .unlinked = true};
}

Intent raise_namespace_epoch(ClusterRecord& record) {
  const uint64_t epoch = ++record.cluster.namespace_epoch;
  return {.inode = inode_of(record.cluster.id, 0), .generation = epoch, .namespace_epoch = epoch};
}

DentryRecord held_dentry(DentryRecord now, DentryRecord was, uint8_t holds) {
  return {.type = now.type,
          .inode = now.inode,
          .holds = holds,
          .was_type = was.type,
          .was_inode = was.inode};
}

namespace {

Task<Status> free_name(MetaTransaction& tx, const HeldName& held) {
  GD2FS_CO_ASSIGN(auto dentry, co_await read_dentry(tx, held.parent, held.name));
  if (!dentry || dentry->holds == 0) {
    co_return Status(StatusCode::corrupt, "an open intent whose name nobody holds");
  }
  if (--dentry->holds > 0) {
    put_dentry(tx, held.parent, held.name, *dentry);
  } else if (dentry->type == FileType::none) {
    tx.remove(dentry_key(held.parent, held.name));
  } else {
    put_dentry(tx, held.parent, held.name, {.type = dentry->type, .inode = dentry->inode});
  }
  co_return Status();
}

}  // namespace

Task<Status> end_intent(MetaTransaction& tx, Intent intent, IntentEnd end) {
  const std::string key = intent_key(intent.inode, intent.generation);
  const std::string of_inode = inode_key(intent.inode);
  std::vector<std::string> keys = {key, of_inode};
  GD2FS_CO_ASSIGN(const auto values, co_await tx.get_many(std::move(keys)));
  if (!values[0]) co_return Status();
  GD2FS_CO_ASSIGN(IntentRecord record, IntentRecord::decode(key, *values[0]));
  const bool was_settled = record.intent.settled;
  if (was_settled && end == IntentEnd::settle) co_return Status();
  if (!was_settled) {
    for (const HeldName& held : record.held) {
      GD2FS_CO_TRY(co_await free_name(tx, held));
    }
  }
  if (end == IntentEnd::finish) {
    tx.remove(key);
  } else {
    record.intent.settled = true;
    record.held.clear();
    tx.put(key, record.encode(key));
  }
  if (!values[1]) co_return Status();  // a namespace epoch; or a later unlink has ended before this
  GD2FS_CO_ASSIGN(InodeRecord inode, InodeRecord::decode(of_inode, *values[1]));
  if (inode.unlinked && record.intent.unlinked && end == IntentEnd::finish) {
    tx.remove(of_inode);
  } else if (inode.pending_generation == intent.generation) {
    inode.pending_generation = 0;
    put_inode(tx, intent.inode, inode);
  }
  co_return Status();
}

}  // namespace gd2fs
