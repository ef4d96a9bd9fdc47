// OptimisticStore: what engines without transactions of their own share: snapshots, the conflict
// rules, group commit, watches. An engine adds how keys are read and how a batch of writes becomes
// durable.
//
// Group commit: one write() is in progress at a time. Transactions that commit meanwhile wait; when
// it ends, they are checked one after another in their order, against what is committed and against
// those before them in the same group; a loser is answered stale, the others go into the next
// write() together, for which it may wait a little (group_patience.h). A watcher or reader sees a
// write only after it is durable.
//
// A transaction that is answered when it is decided (answer_when_decided()) has its answer when its
// group has formed. Nothing else is different: it is one of its group, and no later transaction
// builds on it before it is durable, because none can read it. After a group that failed nobody is
// answered early until one has become durable again.
//
// Reading: an engine answers from its latest durable state and says which revision that is. A read
// of a key that changed since the transaction's snapshot moves the snapshot forward if all that was
// read before is unchanged, else the transaction is stale.
//
// Thread rule: one loop.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "loop/loop.h"
#include "meta/change_window.h"
#include "meta/group_patience.h"
#include "meta/meta_store.h"

namespace gd2fs {

// A write of a transaction: nullopt removes.
struct MetaWrite {
  std::string key;
  std::optional<std::string> value;
};

// A read handed to an engine: either keys, or (limit > 0) the range [begin, end).
struct MetaRead {
  std::vector<std::string> keys;
  std::string begin;
  std::string end;
  size_t limit = 0;

  std::vector<std::optional<std::string>> values;  // one per key
  std::vector<KeyValue> found;                     // of the range, in order
  uint64_t revision = 0;                           // the answer is the state at this revision
};

class OptimisticTransaction;

class OptimisticStore : public MetaStore {
 public:
  static constexpr size_t kGroupTransactionsMax = 256;
  static constexpr size_t kGroupBytesMax = 4 << 20;
  static constexpr size_t kCommitsWaitingMax = 8192;  // over it: busy

  ~OptimisticStore() override;
  std::unique_ptr<MetaTransaction> begin() override;
  uint64_t revision() const override { return revision_; }
  uint64_t watch(std::string prefix, std::function<void(uint64_t)> on_change) override;
  void unwatch(uint64_t watch_id) override;

 protected:
  OptimisticStore(Loop& loop, uint64_t first_revision);

  // Fills values or found and the revision at once, if that needs no waiting.
  virtual bool read_now(MetaRead& read) = 0;
  // Fills them later and completes done; `read` stays valid until then.
  virtual void read(MetaRead& read, Completion& done) = 0;
  // Makes all writes durable together, in order, and then calls write_ended() from the loop, never
  // from inside; `writes` stays valid until then.
  virtual void write(std::span<const MetaWrite> writes) = 0;
  // After the writes are durable and revision() counts them.
  virtual void written(std::span<const MetaWrite> writes) = 0;
  // After a write() whose outcome nobody knows: forget what was read.
  virtual void outcome_unknown() {}

  // ok: the writes are durable. unavailable: nobody knows; whatever was read before may be wrong.
  // Else: none is. From here on revision() counts them, so no read that saw them may be answered
  // before this call.
  void write_ended(const Status& status);
  // Waits until no commit is waiting or in progress.
  Task<void> drain();
  Loop& loop() { return loop_; }

 private:
  friend class OptimisticTransaction;
  struct Waiting {
    OptimisticTransaction* transaction;
    Completion* done;
  };
  struct Grouped {
    Completion* done;  // nullptr: answered
    size_t writes;     // how many of the group's
  };
  struct Watcher {
    std::string prefix;
    std::function<void(uint64_t)> on_change;
  };
  void transaction_begins(uint64_t revision);
  void transaction_ends(uint64_t revision);
  void snapshot_begins(uint64_t revision) { ++snapshots_[revision]; }
  void snapshot_ends(uint64_t revision);
  void enqueue(OptimisticTransaction& transaction, Completion& done);
  void gather();
  void on_gather(Completion& done);
  void form_group();
  void answer_group(const Status& status);
  void notify();
  void end_drain();

  Loop& loop_;
  uint64_t revision_;
  ChangeWindow window_;
  std::map<uint64_t, size_t> snapshots_;  // of the transactions alive
  size_t alive_ = 0;                      // transactions
  std::deque<Waiting> waiting_;
  Completion gather_;  // forms a group at the end of the loop's turn, so that the turn's all join
  GroupPatience patience_;
  Timer patience_ends_;  // runs while a group waits for more
  uint64_t written_from_ns_ = 0;
  bool writing_ = false;
  bool last_group_durable_ = true;
  std::vector<MetaWrite> group_writes_;
  std::vector<Grouped> group_;
  std::set<std::string_view> group_keys_;  // views into group_writes_
  std::map<uint64_t, Watcher> watchers_;
  uint64_t next_watch_id_ = 1;
  Completion* drained_ = nullptr;
};

}  // namespace gd2fs
