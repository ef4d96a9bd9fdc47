// Slab: the server's DRAM cache. Arenas of memory, each owned by one cluster, cut into pages.
//
// Memory is found in this order: a free run of an arena of the cluster; an arena of nobody; pages
// evicted by S3-FIFO, and where that leaves no run long enough, a neighbourhood of unheld pages;
// for a cluster that has no arena, another cluster's. If all of that fails the caller may wait.
//
// A cluster that has less than an equal share of the arenas takes one of a cluster that has more,
// before it evicts, once in kStealNs. A cluster that has used nothing while as many bytes as the
// slab has were brought into it does not count as one and may lose all arenas but one. Arenas of
// which a page is held or pinned stay, and with pinned ones as much room as is needed beside them.
// An arena that changes its cluster is destroyed and made anew, so that no byte crosses over.
//
// Pages of pinned files, up to a share of the slab, are in no queue: they go only when nothing else
// of their cluster can, so no scan takes them. Pages that are not yet on a drive never go.
//
// A file that is filled in order gets its pages side by side: its first one reserves up to
// kRunBlocks of free memory, softly: whoever finds nothing else takes it.
//
// Thread rule: the store's loop.
#pragma once

#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "loop/loop.h"
#include "store/page_map.h"
#include "store/page_runs.h"
#include "store/s3_fifo.h"

namespace gd2fs {

// A wait for memory; caller-owned. done: ok = try again now, then either wait() again (it keeps its
// turn) or served(); busy = waited kWaitNs, or the queue is full, and the wait is over.
struct SlabWait : ListNode<> {
  Completion done;

 private:
  friend class Slab;
  enum class State : uint8_t { idle, queued, woken };
  State state = State::idle;
  uint64_t deadline_ns = 0;
};

class Slab {
 public:
  static constexpr size_t kWaitsMax = 8192;
  static constexpr uint64_t kWaitNs = 2 * kSecond;
  static constexpr size_t kPagesMax = 1 << 20;
  static constexpr uint64_t kPinnedShare = 2;  // at most one part in so many is pinned
  // From one arena taken from another cluster to the next: what has to be evicted, destroyed and
  // cleared for it does not come all at once, and clients have let go of the one before.
  static constexpr uint64_t kStealNs = 2 * kSecond;

  Slab(Loop& loop, std::unique_ptr<ArenaSource> source, uint64_t slab_bytes, uint64_t arena_bytes);
  ~Slab();
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;

  // A fill may be cut into smaller ones, so it leaves pinned pages alone while anything else can
  // go; a stream is a fill whose neighbours follow.
  enum class For : uint8_t { write, fill, stream };
  // A private page with one hold, for blocks [first_block, + blocks) of the chunk; nullptr when
  // there is no memory now.
  SlabPage* take(const ChunkKey& key, uint32_t first_block, uint32_t blocks, For use = For::write);
  // Queues behind those who wait already.
  void wait(SlabWait& wait);
  void served(SlabWait& wait);  // or gave up after being woken; the next one's turn
  bool anyone_waits() const { return waits_count_ != 0; }
  // Whether a page of so many blocks could ever be had.
  bool fits(uint32_t blocks) const { return uint64_t{blocks} * kBlockBytes <= arena_bytes_; }

  void hold(SlabPage& page) {
    if (page.holds_++ == 0) ++held_pages_;
  }
  void unhold(SlabPage& page);

  // Makes blocks of the page what readers of its chunk see.
  void show(SlabPage& page, uint32_t first_block, uint32_t blocks);
  void hide(const ChunkKey& key, uint32_t first_block, uint32_t blocks);
  void used(SlabPage& page);
  const PageMap& map() const { return map_; }
  // Drops what nobody holds of this inode (UINT64_MAX: all), pinned or not.
  void evict(uint64_t inode);

  // Its pages, those that are here and those that come, are evicted last, while all pinned pages
  // fit into pinned_max_bytes; what is over that is treated like any other.
  void set_pinned(uint64_t inode, bool pinned);
  bool is_pinned(uint64_t inode) const { return pinned_inodes_.contains(inode); }
  // The page's bytes are nowhere else: it stays while a block of it shows.
  void set_dirty(SlabPage& page, bool dirty);
  // Of the arena with this index; null if its memory cannot be shared.
  SharedArena* shared_arena(uint32_t index) { return arenas_[index].shared.get(); }

  uint64_t capacity_bytes() const { return arena_bytes_ * arenas_max_; }
  uint64_t used_bytes() const { return used_blocks_ * kBlockBytes; }
  uint64_t held_pages() const { return held_pages_; }
  uint64_t pinned_bytes() const { return pinned_blocks_ * kBlockBytes; }
  uint64_t pinned_max_bytes() const { return capacity_bytes() / kPinnedShare; }
  uint64_t dirty_bytes() const { return dirty_blocks_ * kBlockBytes; }
  // Of the chunk's blocks [first_block, + blocks): how many are here.
  uint32_t resident_blocks(const ChunkKey& key, uint32_t first_block, uint32_t blocks) const;

 private:
  struct Arena {
    ArenaSource::Arena memory;
    // Sessions that have given it to a client watch its end through a weak_ptr.
    std::shared_ptr<SharedArena> shared;
    bool owned = false;
    uint16_t cluster = 0;
    uint32_t free_blocks = 0;
    uint32_t cursor = 0;
    std::vector<SlabPage*> owner;  // per block; nullptr = free
  };
  struct Pool {  // one cluster's
    std::vector<uint32_t> arenas;
    S3Fifo queue;
    List<SlabPage> pinned;  // oldest first
    uint64_t used_at = 0;   // of taken_blocks_, when it last used or took a page
  };

  SlabPage* place(Pool& pool, uint32_t blocks);
  SlabPage* place_in(Arena& arena, uint32_t index, uint32_t blocks);
  SlabPage* make_page(Arena& arena, uint32_t index, uint32_t first_unit, uint32_t blocks);
  SlabPage* place_at(uint16_t cluster, uint32_t index, uint32_t unit, uint32_t blocks);
  SlabPage* find_memory(uint16_t cluster, uint32_t blocks, For use);
  SlabPage* take_in_run(const ChunkKey& key, uint32_t first_block, uint32_t blocks);
  SlabPage* evict_and_place(Pool& pool, uint32_t blocks, For use);
  SlabPage* victim(Pool& pool, bool pinned_too);
  bool clear_neighbourhood(Arena& arena, uint32_t blocks, bool pinned_too);
  bool give_arena(uint16_t cluster);
  struct Contents {
    bool held = false;  // a page of it; then `pinned` may not tell
    bool pinned = false;
  };
  static Contents contents_of(const Arena& arena);
  bool is_idle(const Pool& pool) const;
  bool take_fair_share(uint16_t cluster);
  bool steal_arena(uint16_t cluster, bool pinned_too);
  uint32_t arena_to_spare(const Pool& pool) const;
  void empty_and_destroy(uint32_t index);
  void share(Arena& arena);
  // Readers in other processes look at this. 0: the memory may be used for something else.
  static void tell_generation(Arena& arena, const SlabPage& page, uint64_t generation);
  void enqueue(SlabPage& page);
  void unqueue(SlabPage& page);
  void evict_page(SlabPage& page);
  void release(SlabPage& page);
  void release_unused(std::vector<SlabPage*>& pages);
  void wake_waits();
  void on_wait_timer(Completion&);
  Pool& pool_of(const SlabPage& page) { return pools_[arenas_[page.arena_].cluster]; }

  Loop& loop_;
  std::unique_ptr<ArenaSource> source_;
  uint64_t arena_bytes_;
  uint32_t arenas_max_;
  std::vector<Arena> arenas_;
  std::unordered_map<uint16_t, Pool> pools_;
  PageMap map_;
  List<SlabWait> waits_;
  size_t waits_count_ = 0;
  bool waking_ = false;
  Timer wait_timer_;
  uint64_t used_blocks_ = 0;
  uint64_t taken_blocks_ = 0;  // ever
  uint64_t held_pages_ = 0;
  uint64_t pinned_blocks_ = 0;
  uint64_t dirty_blocks_ = 0;
  std::unordered_set<uint64_t> pinned_inodes_;
  PageRuns runs_;
  uint64_t pages_ = 0;
  uint64_t next_generation_ = 1;
  uint32_t last_shared_id_ = 0;
  uint64_t steal_after_ns_ = 0;
};

}  // namespace gd2fs
