// WriteOp: one StoreWrite on its way.
//
//   reserve: checks, a slot, a page             -> the caller fills the page
//   commit:  waits for its turn in the chunk (and takes another slot if the chunk is on another
//            drive by then), takes a version, merges the edges of cut blocks from what is there,
//            sums up, writes descriptor and data in one transfer
//            -> CommitGroups: synced, in the index -> shows, is answered
//
// Durability memory: between summing up and writing it shows and is answered already, its page
// dirty (write_back.h); the rest happens as if it were not. What overlaps it waits for its turn, a
// retry for its tag and a fence for its end, so the order of everything is the same as without.
//
// From its turn, once it has a slot on the chunk's drive, to its end it counts as a started update
// of its inode: a fence waits for it, so a write is either wholly before a fence or stale. Thread
// rule: the store's loop.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <tuple>

#include "store/rewrite_op.h"
#include "store/slot_taker.h"
#include "store/wipe.h"

namespace gd2fs {

struct StoreWriteState;

// The mutations that are being committed now, by tag: a second copy of one waits for the first, so
// that `stale` is never said beside a copy that may yet be executed.
class CommittingTags {
 public:
  // True: another copy is being committed, and `op` was queued behind it.
  bool wait(StoreWriteState& op, const MutationTag& tag, const ChunkKey& key);
  void enter(const MutationTag& tag, const ChunkKey& key);
  // Those who waited, to try again.
  std::vector<StoreWriteState*> leave(const MutationTag& tag, const ChunkKey& key);

 private:
  using Name = std::tuple<uint64_t, uint64_t, ChunkKey>;
  std::map<Name, std::vector<StoreWriteState*>> waiting_;
};

// At most so many edge blocks are read at once, each into a 64 KiB buffer.
class MergeBudget {
 public:
  static constexpr uint32_t kMergesMax = 256;
  bool take(Completion& later);  // false: `later` completes once a share is the caller's
  void give(Loop& loop);

 private:
  uint32_t used_ = 0;
  std::deque<Completion*> queue_;
};

struct WriteShared {
  WriteShared();
  Pool<StoreWriteState> pool;
  CommittingTags committing;
  MergeBudget merges;
};

struct StoreWriteState {
 public:
  StoreWriteState();
  void reserve(StoreCore& core, WriteShared& shared, StoreWrite& write);
  void commit();
  void abort();
  static StoreWriteState*& of(StoreWrite& write) { return write.state_; }

 private:
  enum class Question : uint8_t { passed, answered, waits };
  Question ask_tag();
  void tag_free();  // the copy that this one waited for has ended

  // --- reserve ---
  Status check() const;
  void begin_reserve();
  void on_slot(Completion& done);
  void take_page();
  void on_memory(Completion& done);
  // --- commit ---
  void begin_commit();
  void on_fence_ended(Completion& done);
  void on_turn(Completion& done);
  bool too_many_extents();
  bool on_wrong_drive();
  void take_slot_anew();
  void on_rewritten(Completion& done);
  void start_update();
  void merge_edges();
  void merge_within_budget();
  void on_merge_budget(Completion& done);
  struct Edge;
  void merge_edge(Edge& edge, uint32_t block);
  void copy_around(uint32_t block, const std::byte* old_block);  // nullptr: zeros
  void on_head(Completion& done);
  void on_tail(Completion& done);
  void on_edge(Edge& edge);
  void edge_done(const Status& status);
  void write_slot();
  void on_written(Completion& done);
  void acknowledge();
  bool try_commit_again();
  void on_retry(Completion&);
  void on_committed(Completion& done);
  void on_wiped(Completion& done);
  void outcome_unknown();
  void publish();

  // Frees what is held and, but for an abort, answers. The op is back in its pool afterwards.
  void finish(const Status& status);
  void give_slot_back();
  void end_write_back(const Status& status);
  void finish_replayed(uint64_t version);

  StoreCore* core_ = nullptr;
  WriteShared* shared_ = nullptr;
  StoreWrite* write_ = nullptr;
  bool committing_ = false;
  bool aborted_ = false;
  bool has_tag_ = false;
  bool in_chunk_ = false;
  bool begun_ = false;

  SlotTaker slot_taker_;
  Completion slot_taken_;
  DriveUnit* unit_ = nullptr;  // set while a slot is held
  Slot slot_;
  SlabPage* page_ = nullptr;
  SlabWait memory_;

  ChunkUpdate update_;
  InodeUpdate inode_update_;
  Completion fence_ended_;
  Completion rewritten_;
  Completion merge_budget_;
  struct Edge {  // a block that the write covers in part
    uint32_t block = 0;
    ExtentRead read;
    Completion done;
    std::shared_ptr<AlignedBuffer> buffer;
  };
  Edge head_;
  Edge tail_;
  uint32_t edges_left_ = 0;
  Status merge_status_;

  uint64_t version_ = 0;
  bool versioned_ = false;
  Completion written_;
  Commit commit_;
  Wipe wipe_;
  Completion wiped_;
  Status failure_;

  // Durability memory: once acknowledged, the caller's StoreWrite is not ours any more; write_ is
  // this copy then, and the number says which write-back this is.
  StoreWrite own_;
  uint64_t write_back_ = 0;
  uint32_t commit_tries_ = 0;
  Timer retry_;
};

}  // namespace gd2fs
