#include "store/store_core.h"

#include <algorithm>

#include "base/check.h"
#include "base/log.h"

namespace gd2fs {
namespace {

constexpr size_t kBuffersKept = 256;
constexpr size_t kBufferKeptBytes = 64 * kKiB;

// A slab of a few arenas leaves room for several clusters; none is smaller than the biggest chunk
// unless the slab is.
uint64_t arena_bytes_for(const StoreOptions& options) {
  const uint64_t eighth = align_down(options.slab_bytes / 8, 2 * kMiB);
  const uint64_t biggest_chunk = uint64_t{1} << kChunkLog2Max;
  return std::min(options.arena_bytes, std::max(eighth, biggest_chunk));
}

}  // namespace

StoreCore::StoreCore(Loop& the_loop, std::unique_ptr<ArenaSource> arenas, StoreOptions the_options,
                     Random the_random)
    : loop(the_loop),
      options(std::move(the_options)),
      random(the_random),
      checks(the_loop, "gd2fs-check", options.check_helpers),
      slab(the_loop, std::move(arenas), options.slab_bytes, arena_bytes_for(options)),
      pins(slab),
      write_back(the_loop, slab, options.write_back_max_bytes),
      active(the_loop) {}

StoreCore::~StoreCore() {
  checks.drop_all();  // what they read and write is about to go
  while (OwnedOperation* operation = owned_.pop_front()) delete operation;
}

std::vector<Extent> StoreCore::extents_of(const ChunkKey& key, uint8_t* chunk_log2) {
  ChunkIndex::View view;
  if (!index.find(key, &view)) return {};
  if (chunk_log2 != nullptr) *chunk_log2 = view.chunk_log2;
  return {view.extents.begin(), view.extents.end()};
}

void StoreCore::add_extent(const ChunkKey& key, uint8_t chunk_log2, const Extent& extent) {
  std::vector<Extent> extents = extents_of(key);
  extents.push_back(extent);
  const std::vector<int> shadowed = shadowed_extents(extents);
  index.set(key, chunk_log2, extents);
  std::vector<SlotAddress> gone;
  gone.reserve(shadowed.size());
  for (const int i : shadowed) gone.push_back(extents[static_cast<size_t>(i)].at);
  if (!gone.empty()) drop_extents(key, gone);
  if (extents.size() - gone.size() > kExtentsPerChunkWanted && want_rewrite) want_rewrite(key);
}

void StoreCore::drop_extents(const ChunkKey& key, const std::vector<SlotAddress>& gone) {
  uint8_t chunk_log2 = kChunkLog2Min;
  std::vector<Extent> kept = extents_of(key, &chunk_log2);
  std::erase_if(kept, [&](const Extent& extent) {
    if (std::find(gone.begin(), gone.end(), extent.at) == gone.end()) return false;
    DriveUnit& owner = unit(extent);
    // A retry of this very mutation may still come; after a rebuild only the log would know it.
    if (const std::optional<TagRecord> tag = dedup.find_version(extent.version)) {
      LogRecord record = LogRecord::of(LogRecord::Kind::tag);
      record.tag = *tag;
      owner.groups.log_before_drops(record);
      dedup.logged(tag->version);
    }
    owner.groups.drop({extent.at.file, extent.at.slot});
    return true;
  });
  index.set(key, chunk_log2, kept);
}

bool StoreCore::shows(const ChunkKey& key, const Extent& extent, uint32_t block) {
  ChunkIndex::View view;
  if (!index.find(key, &view)) return false;
  const Extent* top = nullptr;
  for (const Extent& e : view.extents) {
    if (e.first_block > block || e.end_block() <= block) continue;
    if (top == nullptr || e.version > top->version) top = &e;
  }
  return top != nullptr && *top == extent;
}

DriveUnit* StoreCore::drive_of(const ChunkKey& key) {
  ChunkIndex::View view;
  if (index.find(key, &view)) return &unit(view.extents.front());
  const uint16_t coming = active.drive_of(key);
  return coming == ChunkUpdate::kNoDrive ? nullptr : &unit(coming);
}

DriveUnit* StoreCore::drive_for(const ChunkKey& key) {
  if (in_limbo(key)) return nullptr;
  if (DriveUnit* const owner = drive_of(key)) return owner->drive.serving() ? owner : nullptr;
  if (placement.may_be_missing(key)) return nullptr;
  // Instead of a home that is forgotten, any: the same for a chunk until the drives change.
  size_t first = placement.home(key);
  if (first == Placement::kMissing) first = mix64(key.inode) + key.chunk;
  for (size_t i = 0; i < drives.size(); ++i) {
    DriveUnit& candidate = *drives[(first + i) % drives.size()];
    if (candidate.drive.serving()) return &candidate;
  }
  return nullptr;
}

Status StoreCore::check_hole(const ChunkKey& key) {
  if (in_limbo(key)) {
    return Status(StatusCode::unavailable, "the chunk may be on a drive that is set aside");
  }
  ChunkIndex::View view;
  const bool found = index.find(key, &view);
  const uint16_t on = found ? view.extents.front().at.drive : Placement::kMissing;
  uint64_t oldest_version = UINT64_MAX;
  for (const Extent& extent : view.extents) {
    oldest_version = std::min(oldest_version, extent.version);
  }
  if (!placement.hole_is_unknown(key, on, oldest_version)) return {};
  return Status(StatusCode::io,
                "a drive that may have these bytes is missing, incomplete or given up");
}

Status StoreCore::check_range(uint8_t chunk_log2, uint64_t offset_bytes,
                              uint64_t length_bytes) const {
  if (chunk_log2 < kChunkLog2Min || chunk_log2 > kChunkLog2Max) {
    return Status(StatusCode::invalid, "chunk size out of range");
  }
  if (offset_bytes + length_bytes > (uint64_t{1} << chunk_log2)) {
    return Status(StatusCode::invalid, "range beyond the chunk");
  }
  return {};
}

Status StoreCore::check_generation(uint64_t inode, uint64_t generation) const {
  if (generation < fences.generation_of(inode)) {
    return Status(StatusCode::stale, "inode generation is old");
  }
  return {};
}

void StoreCore::forget_tags(const std::vector<DedupWindow::Forgotten>& forgotten) {
  for (const DedupWindow::Forgotten& f : forgotten) {
    CommitGroups& groups = unit(f.drive).groups;
    groups.ride().remove_tags.push_back(f.record);
    std::vector<ClientLow>& lows = groups.ride().lows;
    const uint64_t low = dedup.low_of(f.record.tag.incarnation);
    if (lows.empty() || lows.back().incarnation != f.record.tag.incarnation) {
      lows.push_back({.incarnation = f.record.tag.incarnation, .low = low});
    }
    lows.back().low = low;
    groups.ride_changed();
  }
}

void StoreCore::wait_for_fence(uint64_t inode, Completion& done) {
  done.start();
  fences_running_[inode].push_back(&done);
}

void StoreCore::fence_ends(uint64_t inode) {
  const auto found = fences_running_.find(inode);
  const std::vector<Completion*> waiting = std::move(found->second);
  fences_running_.erase(found);
  for (Completion* done : waiting) loop.complete(*done, Status());
}

std::shared_ptr<AlignedBuffer> StoreCore::buffer(size_t length_bytes) {
  if (length_bytes > kBufferKeptBytes) return std::make_shared<AlignedBuffer>(length_bytes);
  for (size_t looks = std::min<size_t>(buffers_.size(), 8); looks > 0; --looks) {
    auto& kept = buffers_[next_buffer_++ % buffers_.size()];
    if (kept.use_count() == 1 && kept->size() == length_bytes) return kept;
  }
  auto made = std::make_shared<AlignedBuffer>(length_bytes);
  if (buffers_.size() < kBuffersKept) buffers_.push_back(made);
  return made;
}

void StoreCore::report_bad(const ExtentRead& read, uint32_t block, std::string_view what) {
  ++counters.corrupt_blocks;
  const uint64_t now_ns = loop.now_ns();
  if (now_ns - bad_logged_since_ns_ > 60 * kSecond) {
    bad_logged_since_ns_ = now_ns;
    bad_logged_ = 0;
  }
  if (++bad_logged_ > kBadBlocksLoggedPerMinute) return;
  const ExtentRead::Range& range = read.range();
  const Drive& drive = drives[range.extent.at.drive]->drive;
  GD2FS_LOG_ERROR("{}: damaged block: inode {} chunk {} block {}: {} (drive {} {})", what,
                  range.key.inode, range.key.chunk, block, read.reason(), drive.path(),
                  drive.describe({range.extent.at.file, range.extent.at.slot}));
}

}  // namespace gd2fs
