// MetaStore: ordered byte keys with optimistic transactions. The namespace (names, sizes,
// generations, clusters) stands on it; engines are sqlite:// and an in-memory one here and etcd://
// later, so the interface promises only what all can keep.
//
//  - A Transaction reads from one snapshot and gathers writes in memory. commit() applies them all
//    or answers stale when any key *or range* it read has changed since the snapshot; the caller
//    then runs the whole transaction again. It is durable when commit() answers ok, unless
//    answer_when_decided() says that it need not be.
//  - What a transaction has read always belongs to one instant, also before it commits: a read that
//    no longer fits the snapshot answers stale at once (the engines first try to move the snapshot
//    forward, which works while everything read before is unchanged). A transaction that only reads
//    needs no commit.
//  - At most kWritesMax writes, kReadsMax keys and ranges read, and kBytesMax bytes in a
//  transaction
//    that commits; more is invalid. Bigger work is an intent record plus a background job.
//  - A commit that failed with anything but stale, invalid or no_space may have happened: callers
//    put a dedup record {client incarnation, sequence} into the same transaction and look for it on
//    retry.
//
// Thread rule: everything on one loop; the engines use their own worker. Transactions and the tasks
// made from them end before the store does.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "loop/task.h"

namespace gd2fs {

struct KeyValue {
  std::string key;
  std::string value;
  friend bool operator==(const KeyValue&, const KeyValue&) = default;
};

class MetaTransaction {
 public:
  static constexpr size_t kWritesMax = 100;
  static constexpr size_t kReadsMax = 100;
  static constexpr size_t kBytesMax = 1 << 20;  // keys and values written
  static constexpr size_t kKeyMaxBytes = 512;
  static constexpr size_t kScanMax = 1024;  // keys per scan
  virtual ~MetaTransaction() = default;

  // One entry per key, in order; nullopt if the key is not there. Sees this transaction's own
  // writes. Several keys in one call cost one trip to the drive.
  virtual Task<Result<std::vector<std::optional<std::string>>>> get_many(
      std::vector<std::string> keys) = 0;
  Task<Result<std::optional<std::string>>> get(std::string key);
  // Keys in [begin, end) in order, at most limit (<= kScanMax). The range read is [begin, end) if
  // fewer than limit came back, else up to and with the last key. Sees this transaction's own
  // writes.
  virtual Task<Result<std::vector<KeyValue>>> scan(std::string begin, std::string end,
                                                   size_t limit) = 0;
  virtual void put(std::string_view key, std::string_view value) = 0;
  virtual void remove(std::string_view key) = 0;
  // Forgets the writes so far, keeps what was read: for a failure that is recorded.
  virtual void drop_writes() = 0;
  // A hint, given before commit(): nobody needs these writes after a crash, so ok may be answered
  // as soon as it is certain that no rival stands in their way. They become durable and visible
  // later, in their place among all commits, or never, if the store ends or the drive refuses them
  // first. Nobody reads them before they are durable; what was read without them is stale.
  virtual void answer_when_decided() = 0;
  // stale: something read has changed; run again. A transaction is committed once.
  virtual Task<Status> commit() = 0;
  // True once a read or the commit answered stale because of a conflict. (A caller's own stale,
  // such as an old generation, is told apart from it by this.)
  virtual bool conflicted() const = 0;
};

class MetaStore {
 public:
  virtual ~MetaStore() = default;
  virtual std::unique_ptr<MetaTransaction> begin() = 0;
  // The revision grows with every commit, across restarts too; watchers resume from one.
  virtual uint64_t revision() const = 0;
  // Calls on_change on the loop after each commit that wrote a key with this prefix.
  virtual uint64_t watch(std::string prefix, std::function<void(uint64_t revision)> on_change) = 0;
  virtual void unwatch(uint64_t watch_id) = 0;
  // Ends what is in progress and leaves the store in a state that opens without a check. No calls
  // after it.
  virtual Task<Status> close() = 0;
};

}  // namespace gd2fs
