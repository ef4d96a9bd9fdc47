// MetaStore: ordered byte keys with optimistic transactions. The namespace (names, sizes,
// generations, clusters) stands on it; engines are sqlite:// here and etcd:// later, so the
// interface promises only what both can keep.
//
//  - A Transaction reads from one snapshot and gathers writes in memory. commit() applies them all
//    or answers stale when any key *or range* it read has changed since the snapshot (then the
//    caller runs the whole transaction again). It is durable when commit() answers ok.
//  - At most kOpsMax operations and kBytesMax bytes per transaction; more is invalid. Bigger work
//  is
//    an intent record plus a background job.
//  - A commit whose answer was lost (unavailable) may have happened: callers put a dedup record
//    {client incarnation, sequence} into the same transaction and look for it on retry.
//
// Thread rule: everything on one loop; the engines use their own worker.
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
};

class MetaTransaction {
 public:
  static constexpr size_t kOpsMax = 100;
  static constexpr size_t kBytesMax = 1 << 20;
  static constexpr size_t kKeyMaxBytes = 512;
  virtual ~MetaTransaction() = default;

  // nullopt if the key is not there. Sees this transaction's own writes.
  virtual Task<Result<std::optional<std::string>>> get(std::string_view key) = 0;
  // Keys in [begin, end) in order, at most limit. The range read is [begin, end) if fewer than
  // limit came back, else up to and with the last key. Sees this transaction's own writes.
  virtual Task<Result<std::vector<KeyValue>>> scan(std::string_view begin, std::string_view end,
                                                   size_t limit) = 0;
  virtual void put(std::string_view key, std::string_view value) = 0;
  virtual void remove(std::string_view key) = 0;
  // stale: something read has changed; run again. A transaction is used once.
  virtual Task<Status> commit() = 0;
};

class MetaStore {
 public:
  virtual ~MetaStore() = default;
  virtual std::unique_ptr<MetaTransaction> begin() = 0;
  // The revision grows with every commit; watchers resume from one.
  virtual uint64_t revision() const = 0;
  // Calls on_change on the loop after each commit that wrote a key with this prefix.
  virtual uint64_t watch(std::string prefix, std::function<void(uint64_t revision)> on_change) = 0;
  virtual void unwatch(uint64_t watch_id) = 0;
};

}  // namespace gd2fs
