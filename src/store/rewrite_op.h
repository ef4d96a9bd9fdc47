// RewriteOp: writes a block range of a chunk anew as one extent with the same content: because the
// chunk has too many extents, or because a fence cut into one (what recorded cuts took from an
// extent becomes zeros). It streams through a small buffer, so it never waits for slab memory, and
// writes the descriptor last.
//
// A damaged block stays damaged: it gets a checksum that does not match, so that it goes on
// answering corrupt and is never made up. Deletes itself. Thread rule: the store's loop.
#pragma once

#include <memory>

#include "store/slot_taker.h"
#include "store/wipe.h"

namespace gd2fs {

class RewriteOp final : private OwnedOperation {
 public:
  static constexpr uint32_t kStepBlocks = 16;   // 1 MiB
  static constexpr uint32_t kReadTriesMax = 3;  // of one block, before it counts as lost

  // background: gives up at a damaged block, or when the chunk no longer needs it. Only `fence` may
  // run while a fence of the inode does: another's copy could save what the fence is cutting away.
  enum class Why : uint8_t { background, make_room, fence };
  struct What {
    Why why = Why::background;
    ChunkKey key;
    uint8_t chunk_log2 = 0;
    uint32_t first_block = 0;
    uint32_t blocks = 0;
  };
  // done: ok, no_space, unavailable, corrupt (gave up), busy (a fence is running).
  static void start(StoreCore& core, const What& what, Completion& done);

 private:
  RewriteOp(StoreCore& core, const What& what, Completion& done);
  void on_turn(Completion& done);
  void on_slot(Completion& done);
  void next_step();
  void gather();
  void take_block_run(const VisibleRun& run);
  void on_run_read(Completion& done);
  void split_run();
  void step_gathered();
  void zero_what_was_cut(const VisibleRun& run);
  void on_data_written(Completion& done);
  void write_descriptor();
  void on_descriptor_written(Completion& done);
  void on_committed(Completion& done);
  void on_wiped(Completion& done);
  void finish(const Status& status);
  std::byte* block_bytes(uint32_t block) {
    return buffer_->data() + uint64_t{block - step_first_} * kBlockBytes;
  }

  StoreCore& core_;
  What what_;
  Completion& done_;
  ChunkUpdate update_;
  InodeUpdate inode_update_;
  SlotTaker taker_;
  Completion slot_taken_;
  DriveUnit* unit_ = nullptr;
  Slot slot_;
  bool wrote_ = false;
  uint64_t version_ = 0;

  std::vector<Extent> extents_;
  std::shared_ptr<AlignedBuffer> buffer_;
  uint32_t step_first_ = 0;
  uint32_t step_blocks_ = 0;
  std::vector<VisibleRun> runs_;
  size_t run_ = 0;
  uint32_t tries_ = 0;
  ExtentRead read_;
  Completion read_done_;
  Completion written_;
  std::vector<bool> poisoned_;
  std::vector<uint32_t> crcs_;
  Commit commit_;
  Wipe wipe_;
  Completion wiped_;
  Status failure_;
};

}  // namespace gd2fs
