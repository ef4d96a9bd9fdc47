// ReadOp: one StoreRead on its way. It takes a snapshot of the chunk (cached pages, extents, holes)
// in one instant, so that a read never mixes two versions of a chunk; what is not cached is read
// from the drive, once however many readers ask. While it waits for memory it holds nothing.
#pragma once

#include <memory>
#include <vector>

#include "store/fill.h"

namespace gd2fs {

struct StoreReadState {
 public:
  StoreReadState();
  // Goes back to its pool by itself.
  void start(StoreCore& core, Pool<StoreReadState>& home, StoreRead& read);

 private:
  // A run of the answer, in blocks. page set: its bytes; else zeros once no wait is left.
  struct Piece {
    uint32_t first_block = 0;
    uint32_t blocks = 0;
    SlabPage* page = nullptr;
    FillWait* wait = nullptr;
    const Extent* extent = nullptr;  // while planning: to be read
  };

  Status check() const;
  void plan();
  Status take_snapshot();
  Status add_uncached(uint32_t first_block, uint32_t blocks);
  bool start_fills(uint32_t fill_blocks_max);
  bool start_fills_somehow();
  std::vector<ExtentRead::Range> wanted_fills(uint32_t fill_blocks_max) const;
  uint64_t left_behind(uint32_t block) const;
  void read_ahead();
  void join_fills();
  void drop_pieces();
  void on_memory(Completion& done);
  void on_fill(Completion& done);
  void finish(const Status& status);
  void fill_slices();
  void add_slice(const Piece& piece);

  StoreCore* core_ = nullptr;
  Pool<StoreReadState>* home_ = nullptr;
  StoreRead* read_ = nullptr;
  uint32_t first_block_ = 0;
  uint32_t end_block_ = 0;
  std::vector<Piece> pieces_;
  std::vector<Extent> extents_;
  std::vector<std::unique_ptr<FillWait>> waits_;
  uint32_t waiting_ = 0;
  Status first_error_;
  bool wide_ = false;        // some fill reads more than was asked
  bool exact_only_ = false;  // after a wide fill failed
  bool missed_ = false;      // something had to be read
  SlabWait memory_;
};

}  // namespace gd2fs
