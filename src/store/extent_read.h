// ExtentRead: reads blocks of one extent from its drive into memory and verifies each against its
// checksum in the slot's descriptor, which is read along. What fails verification is read once more
// before it is called bad: a flipped bit may have happened on the way.
//
// Embedded in its operation; the slot is held while it runs. `done`: ok (then ask bad()), io,
// unavailable. Thread rule: the store's loop.
#pragma once

#include <memory>
#include <vector>

#include "store/drive.h"
#include "store/extents.h"
#include "store/format.h"

namespace gd2fs {

class ExtentRead {
 public:
  ExtentRead();

  struct Range {
    ChunkKey key;
    Extent extent;
    uint32_t first_block = 0;
    uint32_t blocks = 0;
    uint64_t left_bytes = UINT64_MAX;  // Transfer's
  };
  // `into` has room for the blocks and is 4 KiB aligned; `page` or `buffer` owns it.
  void start(Loop& loop, Drive& drive, const Range& range, std::byte* into, SlabPage* page,
             std::shared_ptr<AlignedBuffer> buffer, Completion& done);

  // After done was ok.
  bool bad(uint32_t chunk_block) const { return bad_[chunk_block - range_.first_block]; }
  bool any_bad() const { return bad_count_ != 0; }
  uint32_t crc(uint32_t chunk_block) const {
    return descriptor_.block_crcs[chunk_block - range_.extent.first_block];
  }
  const SlotDescriptor& descriptor() const { return descriptor_; }
  // Why blocks are bad: "crc", or what is wrong with the descriptor.
  const char* reason() const { return reason_; }
  const Range& range() const { return range_; }

 private:
  void submit();
  void on_piece(Completion& done);
  void on_read(Completion& done);
  void verify();
  bool descriptor_matches();

  Loop* loop_ = nullptr;
  Drive* drive_ = nullptr;
  Range range_;
  std::byte* into_ = nullptr;
  SlabPage* page_ = nullptr;
  std::shared_ptr<AlignedBuffer> buffer_;
  std::shared_ptr<AlignedBuffer> descriptor_bytes_;
  Completion* done_ = nullptr;
  Completion descriptor_read_;
  Completion data_read_;
  Completion read_;
  Join join_;
  bool again_ = false;
  SlotDescriptor descriptor_;
  std::vector<bool> bad_;
  uint32_t bad_count_ = 0;
  const char* reason_ = "";
};

}  // namespace gd2fs
