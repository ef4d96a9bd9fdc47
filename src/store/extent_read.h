// ExtentRead: reads blocks of one extent from its drive into memory and verifies each against its
// checksum in the slot's descriptor, which is read along. What fails verification is read once more
// before it is called bad: a flipped bit may have happened on the way.
//
// The checksums of much are taken in slices, by the loop between other things and by threads beside
// it: a loop that takes them of all that its drive ends at once keeps that drive waiting for it.
//
// Embedded in its operation; the slot is held while it runs. `done`: ok (then ask bad()), io,
// unavailable. Thread rule: the store's loop.
#pragma once

#include <memory>
#include <vector>

#include "loop/slice_pool.h"
#include "store/drive.h"
#include "store/extents.h"
#include "store/format.h"

namespace gd2fs {

class ExtentRead {
 public:
  static constexpr uint64_t kCheckBySlicesBytes = 1 << 20;  // less is checked at once

  ExtentRead();

  struct Range {
    ChunkKey key;
    Extent extent;
    uint32_t first_block = 0;
    uint32_t blocks = 0;
    uint64_t left_bytes = UINT64_MAX;  // Transfer's
  };
  // `into` has room for the blocks and is 4 KiB aligned; `page` or `buffer` owns it.
  void start(Loop& loop, SlicePool& checks, Drive& drive, const Range& range, std::byte* into,
             SlabPage* page, std::shared_ptr<AlignedBuffer> buffer, Completion& done);

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
  void on_checked(SliceJob&);
  void on_verified();
  void end(const Status& status);
  bool descriptor_matches();

  // Checksums of what was read.
  struct Check final : SliceJob {
    static_assert(SlicePool::kSliceMinBytes % kBlockBytes == 0);
    ~Check() override { leave(); }
    void make(uint64_t begin, uint64_t end) override;
    const std::byte* bytes = nullptr;
    std::vector<uint32_t> crcs;  // by block
  };

  Loop* loop_ = nullptr;
  SlicePool* checks_ = nullptr;
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
  Check check_;
  std::vector<bool> bad_;
  uint32_t bad_count_ = 0;
  const char* reason_ = "";
};

}  // namespace gd2fs
