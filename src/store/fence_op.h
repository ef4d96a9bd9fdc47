// FenceOp: carries out one fence (rename, truncate, unlink) on an inode.
//
//   raise the generation in RAM            -> older requests are stale from now on
//   wait for older updates under way       -> they are wholly before the fence
//   take a floor version; record in the log of every serving drive, durably: it has happened
//   drop what lies beyond; a chunk that is cut in the middle is rewritten, its rest as zeros
//
// Newer writes of the inode wait meanwhile. At start-up the recorded cuts are carried out once more
// (redo), since a crash may have come in between, or a drive that missed them is back. Deletes
// itself. Thread rule: the store's loop.
#pragma once

#include "store/rewrite_op.h"

namespace gd2fs {

class FenceOp final : private OwnedOperation {
 public:
  static constexpr size_t kChunksPerTurn = 512;

  // done: ok, invalid, busy (too many cuts not yet settled), unavailable, no_space.
  static void start(StoreCore& core, const StoreFence& fence, Completion& done);
  static void redo(StoreCore& core, const FenceRecord& record, Completion& done);

 private:
  FenceOp(StoreCore& core, Completion& done);
  void begin();
  void on_older_ended(Completion& done);
  void on_append(Completion& done);
  void on_logged(Completion& done);
  void take_up(const FenceRecord& record);
  void carry_out();
  void drop_some();
  void on_next_turn(Completion& done);
  bool cut_chunk();
  void on_rewritten(Completion& done);
  void drop_what_was_cut();
  void finish(const Status& status);

  StoreCore& core_;
  Completion& done_;
  FenceRecord record_;
  bool parts_out_of_reach_ = false;  // on a drive that is set aside
  bool begun_ = false;
  Completion older_ended_;
  std::vector<std::unique_ptr<Completion>> appends_;
  uint32_t appends_left_ = 0;
  uint32_t logged_ = 0;
  Completion logged_done_;
  std::vector<ChunkKey> chunks_;  // still to do, from the end
  ChunkKey cut_;                  // the one being cut
  uint8_t cut_chunk_log2_ = kChunkLog2Min;
  uint32_t cut_from_block_ = 0;  // no cached block from here on shows what the chunk is now
  std::vector<SlotAddress> cut_extents_;
  Completion next_turn_;
  Completion rewritten_;
  Status result_;
};

}  // namespace gd2fs
