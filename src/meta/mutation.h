// Mutation: one change of the namespace, from its tag to its commit. An operation derives from it
// and says what to read and what to write; Namespace::run() does the rest:
//
//   borrow a usage shard
//   again, until no other transaction got in between:
//     read the cluster; resolve() walks the path; read the tag's slot and expect()'s keys in one
//     trip the tag is known: its answer, and those of its intents that are still open attempt()
//     reads, checks, writes and fills `answer`; a failure's writes are dropped write the tag record
//     (also of a failure), commit
//
// resolve() reads in a transaction of its own, so that a commit need not check every directory on
// the path: those change only by a directory's rename, which rewrites the cluster's record, or by
// rmdir, which needs them empty. The mutation reads the cluster's record before the walk and the
// parent's inode after it, so its commit fails if either happened meanwhile.
//
// Thread rule: the Namespace's loop.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "loop/task.h"
#include "meta/meta_store.h"
#include "meta/namespace.h"
#include "meta/records.h"
#include "meta/usage.h"

namespace gd2fs {

// Kept in tag records: never renumber.
enum class OperationCode : uint8_t {
  none = 0,
  create = 1,
  lookup_or_create = 2,
  mkdir = 3,
  rmdir = 4,
  unlink = 5,
  rename = 6,
  truncate = 7,
  create_cluster = 8,
  remove_cluster = 9,
  set_policy = 10,
  rotate_token = 11,
  drop_previous_token = 12,
  set_pinned = 13,
};

class Mutation {
 public:
  // cluster_id 0: an operation on clusters themselves. OperationCode::none: idempotent, no tag.
  Mutation(OperationCode operation, uint16_t cluster_id)
      : operation_(operation), cluster_id_(cluster_id) {}
  virtual ~Mutation() = default;
  Mutation(const Mutation&) = delete;
  Mutation& operator=(const Mutation&) = delete;

  virtual Task<Status> resolve(MetaTransaction& walk);
  virtual void expect(std::vector<std::string>* keys) const;
  virtual Task<Status> attempt(MetaTransaction& tx) = 0;

  Mutated answer;

 protected:
  // What a retry must repeat; mixed into the tag record, so that a tag used for something else is
  // noticed.
  void add_argument(std::string_view bytes);
  void add_argument(uint64_t value);

  // Adds an intent to the answer and writes its record. Each of `held` is counted in its dentry.
  void put_intent(MetaTransaction& tx, const Intent& intent, std::vector<HeldName> held);
  Task<Status> charge(MetaTransaction& tx, UsageDelta delta);

  uint16_t cluster_id() const { return cluster_id_; }
  const Cluster& cluster() const { return cluster_.cluster; }
  ClusterRecord& cluster_record() { return cluster_; }
  uint64_t now_us() const { return now_us_; }
  // attempt() changed nothing and its answer need not be kept.
  void set_only_read() { only_read_ = true; }

 private:
  friend struct NamespaceCore;
  OperationCode operation_;
  uint16_t cluster_id_;
  uint32_t arguments_crc_ = 0;
  // Of the current attempt:
  ClusterRecord cluster_;
  uint8_t shard_ = 0;
  uint64_t now_us_ = 0;
  bool only_read_ = false;
};

}  // namespace gd2fs
