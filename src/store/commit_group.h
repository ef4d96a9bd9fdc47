// CommitGroups: the way from "written" to "durable and in the index" on one drive, in groups.
//
// Three stages overlap: while one group's index transaction runs on the worker, the next group's
// data files are synced, and further writes are on their way to the drive. One sync covers every
// write that completed before it began; one transaction carries all that was synced.
//
// A sync between large writes costs the drive's time, and a large write is seldom alone: while each
// commit that waits is patient and has others of its file on their way to the drive, no sync
// begins, for kGatherNs at most.
//
// Beside the commits travel changes that nobody waits for (dropped extents, forgotten tags and
// fences): they ride on the next transaction, or on one of their own after kRideNs. A start after
// a lost power makes the end of the index again from the descriptors, so a dropped extent's slot is
// freed only when the transaction that dropped it is durable; for the case that commits are not
// synced (decision 017), the index is synced for all drops of kRideNs together, beside the path of
// any acknowledgement.
//
// Thread rule: the store's loop.
#pragma once

#include <functional>
#include <unordered_map>
#include <vector>

#include "store/drive.h"

namespace gd2fs {

// One chunk update on its way; embedded in its operation. done: ok = durable and committed;
// no_space = certainly not committed, the slot still holds its descriptor; else unknown.
struct Commit : ListNode<> {
  Slot slot;
  IndexRow row;
  TagRecord tag;  // incarnation 0: none
  uint64_t client_low = 0;
  bool patient = false;   // a part of something large: may wait for more of it
  bool expected = false;  // the groups' own
  Completion done;
};

class CommitGroups {
 public:
  static constexpr size_t kGroupFilesMax = 64;  // synced together
  static constexpr uint64_t kRideNs = 20 * kMs;
  static constexpr uint64_t kRetryNs = 100 * kMs;
  static constexpr uint64_t kGatherNs = 8 * kMs;

  CommitGroups(Loop& loop, Drive& drive, uint64_t delay_ns);

  // Nothing is committed before: start-up works on the index itself.
  void start(uint64_t index_transactions);

  // Its data write begins now; add() or, if that fails, give_up() follows.
  void expect(Commit& commit);
  void give_up(Commit& commit);
  // Its data write has completed.
  void add(Commit& commit);

  // The extent in this slot shows no more: its row goes, then the slot is free.
  void drop(Slot slot);
  // A record that must be in the log before slots dropped so far may be reused.
  void log_before_drops(const LogRecord& record);
  // Other changes of the index; call ride_changed() after changing it.
  IndexBatch& ride() { return ride_; }
  void ride_changed();

  // Completes when what was dropped before is off the index: ok, or why not.
  void flush(Completion& done);
  bool idle() const;
  bool has_drops() const {
    return !drops_.empty() || !committing_drops_.empty() || !unsynced_drops_.empty() ||
           drops_sync_running_;
  }
  void fail_all(const Status& status);  // the drive was set aside

  uint64_t transactions = 0;  // of the index; set at start, then counted
  uint64_t commits = 0;       // since start
  uint64_t entries = 0;       // commits in them

 private:
  using CommitList = List<Commit>;
  struct FlushWait {
    Completion* done = nullptr;
    uint64_t transaction = 0;  // the one whose end answers it
  };

  void kick();
  bool gathers();
  void on_gather_timer(Completion&) { kick(); }
  void start_sync();
  void on_file_synced(Completion& done);
  void on_synced(Completion& done);
  void start_transaction();
  void on_tags_logged(Completion& done);
  void run_transaction();
  void on_committed(Completion& done);
  void take_back();
  void on_timer(Completion&);
  void sync_drops();
  void on_drops_timer(Completion&);
  void on_drops_synced(Completion& done);
  void answer_flushes(const Status& status, uint64_t through);
  void answer(CommitList& list, const Status& status);

  Loop& loop_;
  Drive& drive_;
  uint64_t delay_ns_;
  Status failed_;
  bool started_ = false;

  CommitList written_;
  bool all_patient_ = true;                        // each of them
  std::unordered_map<uint64_t, uint32_t> coming_;  // by inode: patient ones on their way
  uint64_t gather_until_ns_ = 0;
  Timer gather_timer_;
  CommitList syncing_;
  CommitList synced_;
  CommitList committing_;
  bool sync_running_ = false;
  Join syncs_;
  Completion file_synced_[kGroupFilesMax];
  Completion synced_done_;

  IndexBatch ride_;
  std::vector<Slot> drops_;
  std::vector<LogRecord> tags_;
  IndexBatch committing_ride_;
  std::vector<Slot> committing_drops_;
  std::vector<Slot> unsynced_drops_;  // off the index, but not yet durably
  std::vector<Slot> syncing_drops_;
  bool drops_sync_running_ = false;
  uint64_t drops_syncing_through_ = 0;  // the transaction whose drops are the last of these
  Completion drops_synced_;
  Timer drops_timer_;
  bool transaction_running_ = false;
  uint64_t transactions_started_ = 0;
  uint64_t transactions_ended_ = 0;
  Completion tags_logged_;
  Completion committed_;

  bool ride_due_ = false;
  bool delay_over_ = true;
  Timer ride_timer_;
  Timer delay_timer_;
  void on_delay_timer(Completion&);
  std::vector<FlushWait> flushes_;
};

}  // namespace gd2fs
