// ActiveChunks: what is going on with which chunk right now.
//
// Updates of a chunk that overlap in blocks run one after another, in the order they entered;
// disjoint ones run together. Fills (disk reads into the slab) are kept here so that many readers
// share one. A chunk is in the table only while something of it is going on.
//
// Thread rule: the store's loop.
#pragma once

#include <unordered_map>

#include "loop/loop.h"
#include "store/page_map.h"

namespace gd2fs {

// A change of a block range of one chunk; embedded in its operation. `turn` completes when no
// earlier overlapping update is left.
struct ChunkUpdate : ListNode<> {
  ChunkKey key;
  uint32_t first_block = 0;
  uint32_t blocks = 0;
  bool started = false;
  // Where a write goes, once that is decided; a rewrite goes where the chunk is.
  static constexpr uint16_t kNoDrive = UINT16_MAX;
  uint16_t drive = kNoDrive;
  Completion turn;
  uint32_t end_block() const { return first_block + blocks; }
};

// A started update of an inode, for the fences that must wait for it.
struct InodeUpdate : ListNode<struct InodeUpdateTag> {
  uint64_t inode = 0;
  uint64_t generation = 0;  // 0: the store's own rewrite
};

class Fill;

class ActiveChunks {
 public:
  explicit ActiveChunks(Loop& loop) : loop_(loop) {}

  void enter(ChunkUpdate& update);
  void leave(ChunkUpdate& update);
  // Started updates of this chunk, not counting `but`.
  uint32_t started(const ChunkUpdate& but);
  // The drive that updates of this chunk are on their way to, or kNoDrive: all to the same.
  uint16_t drive_of(const ChunkKey& key);
  bool empty() const { return chunks_.empty(); }

  void add_fill(const ChunkKey& key, Fill& fill);
  void remove_fill(const ChunkKey& key, Fill& fill);
  const std::vector<Fill*>* fills(const ChunkKey& key) const;

  // --- by inode ---
  void begin(InodeUpdate& update) { inodes_[update.inode].updates.push_back(update); }
  void end(InodeUpdate& update);
  // Completes once no update of the inode that began below this generation is left. One waiter per
  // inode: fences of an inode run one after another.
  void wait_for_older(uint64_t inode, uint64_t generation, Completion& done);

 private:
  struct Chunk {
    List<ChunkUpdate> updates;
    std::vector<Fill*> fills;
  };
  struct Inode {
    List<InodeUpdate, InodeUpdateTag> updates;
    uint64_t generation = 0;
    Completion* waiter = nullptr;
  };
  void start_ready(Chunk& chunk);
  void drop_if_quiet(const ChunkKey& key);
  void check_waiter(uint64_t inode);

  Loop& loop_;
  std::unordered_map<ChunkKey, Chunk, ChunkKeyHash> chunks_;
  std::unordered_map<uint64_t, Inode> inodes_;
};

}  // namespace gd2fs
