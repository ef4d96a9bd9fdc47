// StoreCore: what the operations of one store share. Each operation lives in a file of its own
// (read_op, write_op, fence_op, rewrite_op, wipe, scrub, recover); StoreEngine (store.cc) puts the
// Store interface in front.
//
// Thread rule: the store's loop.
#pragma once

#include <memory>
#include <set>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "base/pool.h"
#include "store/active.h"
#include "store/chunk_index.h"
#include "store/commit_group.h"
#include "store/dedup.h"
#include "store/drive.h"
#include "store/extent_read.h"
#include "store/fences.h"
#include "store/pins.h"
#include "store/placement.h"
#include "store/slab.h"
#include "store/versions.h"
#include "store/write_back.h"

namespace gd2fs {

struct StoreCounters {
  uint64_t read_hits = 0;
  uint64_t read_misses = 0;
  uint64_t corrupt_blocks = 0;
};

// A drive and what commits to it.
struct DriveUnit {
  DriveUnit(Loop& loop, uint16_t index, StoreDrive parts, Slab& slab, const StoreOptions& options)
      : drive(loop, index, std::move(parts), slab,
              {.data_file_bytes = options.data_file_bytes,
               .reserve_bytes = options.drive_reserve_bytes,
               .deadline_ns = options.drive_deadline_ns,
               .window_bytes = options.drive_window_bytes}),
        groups(loop, drive, options.commit_delay_ns) {
    drive.on_set_aside([this](const Status& status) { groups.fail_all(status); });
  }
  Drive drive;
  CommitGroups groups;
};

// An operation that deletes itself when it has ended; what is left when the store goes is deleted
// with it.
struct OwnedOperation : ListNode<struct OwnedOperationTag> {
  virtual ~OwnedOperation() = default;
};

class StoreCore {
 public:
  static constexpr size_t kDrivesMax = 64;
  static constexpr size_t kReadsMax = 8192;
  static constexpr size_t kWritesMax = 8192;
  static constexpr uint32_t kBadBlocksLoggedPerMinute = 100;

  StoreCore(Loop& loop, std::unique_ptr<ArenaSource> arenas, StoreOptions options, Random random);
  ~StoreCore();

  Loop& loop;
  StoreOptions options;
  Random random;
  SlicePool checks;
  Slab slab;
  Pins pins;
  WriteBack write_back;
  std::vector<std::unique_ptr<DriveUnit>> drives;
  ChunkIndex index;
  FenceTable fences;
  DedupWindow dedup;
  Versions versions;
  ActiveChunks active;
  StoreCounters counters;
  Placement placement;
  bool fences_unsure = false;
  std::vector<DriveUuid> to_forget;  // missing members that will not come back
  bool closing = false;

  DriveUnit& unit(uint16_t drive) { return *drives[drive]; }
  DriveUnit& unit(const Extent& extent) { return *drives[extent.at.drive]; }

  // --- the committed state ---
  // Makes a committed extent show, and lets go of what it shadows.
  void add_extent(const ChunkKey& key, uint8_t chunk_log2, const Extent& extent);
  // The extents at these places show no more; their slots go once that is durable.
  void drop_extents(const ChunkKey& key, const std::vector<SlotAddress>& gone);
  // Whether exactly this extent shows the block now.
  bool shows(const ChunkKey& key, const Extent& extent, uint32_t block);
  std::vector<Extent> extents_of(const ChunkKey& key, uint8_t* chunk_log2 = nullptr);
  // The drive that the chunk is on, or that its first update is on its way to; nullptr if none.
  DriveUnit* drive_of(const ChunkKey& key);
  // The drive for a chunk's next extent: where it already is, else its home, else any that serves;
  // nullptr if there is none, or the chunk may be on a drive that is not here.
  DriveUnit* drive_for(const ChunkKey& key);
  // ok if the chunk's holes are known to be zeros.
  Status check_hole(const ChunkKey& key);
  // A write of unknown outcome may have put a new chunk on a drive that is set aside: until the
  // drive is opened again nothing can be said of the chunk.
  void put_in_limbo(const ChunkKey& key) { limbo_.insert(key); }
  bool in_limbo(const ChunkKey& key) const { return limbo_.contains(key); }
  // ... and of the write itself: at the next start it may turn out to have happened. At most
  // kWritesMax for each drive that is set aside.
  void put_in_limbo(const MutationTag& tag, const ChunkKey& key) {
    if (tag.incarnation != 0) limbo_tags_.insert({tag.incarnation, tag.sequence, key});
  }
  bool in_limbo(const MutationTag& tag, const ChunkKey& key) const {
    return limbo_tags_.contains({tag.incarnation, tag.sequence, key});
  }

  // invalid, stale. The checks that every request passes.
  Status check_range(uint8_t chunk_log2, uint64_t offset_bytes, uint64_t length_bytes) const;
  Status check_generation(uint64_t inode, uint64_t generation) const;
  // A recorded mutation left the window, or its descriptor is about to: the drives are told.
  void forget_tags(const std::vector<DedupWindow::Forgotten>& forgotten);

  // A buffer for one descriptor; they are used again once no transfer has them.
  std::shared_ptr<AlignedBuffer> buffer(size_t length_bytes);

  // Logged, rate limited. `what` as in "read", "scrub".
  void report_bad(const ExtentRead& read, uint32_t block, std::string_view what);

  // --- fences under way ---
  // Writes of a newer generation wait until the fence that brought it has been carried out.
  bool fence_running(uint64_t inode) const { return fences_running_.contains(inode); }
  void fence_begins(uint64_t inode) { fences_running_[inode]; }
  void wait_for_fence(uint64_t inode, Completion& done);
  void fence_ends(uint64_t inode);

  // --- background work, set by StoreEngine ---
  std::function<void(const ChunkKey&)> want_rewrite;
  // A stream has reached the chunk of this read.
  std::function<void(const StoreRead&)> want_ahead;
  // Runs when an operation ended; close() waits for it.
  std::function<void()> on_quiet;
  uint64_t operations = 0;
  void begin_operation() { ++operations; }
  void begin_operation(OwnedOperation& operation) {
    begin_operation();
    owned_.push_back(operation);
  }
  void end_operation() {
    if (--operations == 0 && on_quiet) on_quiet();
  }

 private:
  List<OwnedOperation, OwnedOperationTag> owned_;
  std::vector<std::shared_ptr<AlignedBuffer>> buffers_;
  size_t next_buffer_ = 0;
  std::set<ChunkKey> limbo_;
  std::set<std::tuple<uint64_t, uint64_t, ChunkKey>> limbo_tags_;  // incarnation, sequence
  uint64_t bad_logged_since_ns_ = 0;
  uint32_t bad_logged_ = 0;
  std::unordered_map<uint64_t, std::vector<Completion*>> fences_running_;
};

}  // namespace gd2fs
