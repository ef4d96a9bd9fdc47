#include "store/fence_op.h"

#include <algorithm>

#include "base/check.h"
#include "base/log.h"

namespace gd2fs {

FenceOp::FenceOp(StoreCore& core, Completion& done) : core_(core), done_(done) {
  older_ended_.bind<&FenceOp::on_older_ended>(this);
  logged_done_.bind<&FenceOp::on_logged>(this);
  next_turn_.bind<&FenceOp::on_next_turn>(this);
  rewritten_.bind<&FenceOp::on_rewritten>(this);
}

void FenceOp::start(StoreCore& core, const StoreFence& fence, Completion& done) {
  done.start();
  auto* const op = new FenceOp(core, done);
  core.begin_operation(*op);
  op->record_ = {.inode = fence.inode,
                 .generation = fence.generation,
                 .keep_bytes = fence.keep_bytes,
                 .chunk_log2 = fence.chunk_log2,
                 .unlinked = fence.unlinked};
  if (fence.chunk_log2 < kChunkLog2Min || fence.chunk_log2 > kChunkLog2Max) {
    op->finish(Status(StatusCode::invalid, "chunk size out of range"));
    return;
  }
  op->begin();
}

void FenceOp::redo(StoreCore& core, const FenceRecord& record, Completion& done) {
  done.start();
  auto* const op = new FenceOp(core, done);
  core.begin_operation(*op);
  op->take_up(record);
}

void FenceOp::take_up(const FenceRecord& record) {
  record_ = record;
  begun_ = true;
  core_.fence_begins(record.inode);
  carry_out();
}

// One fence of an inode at a time; who finds another running asks again after it.
void FenceOp::begin() {
  const uint64_t inode = record_.inode;
  if (core_.fence_running(inode)) {
    older_ended_.bind(this, [](void* self, Completion&) {
      auto* const op = static_cast<FenceOp*>(self);
      op->older_ended_.bind<&FenceOp::on_older_ended>(op);
      op->begin();
    });
    core_.wait_for_fence(inode, older_ended_);
    return;
  }
  const bool anyone = std::any_of(core_.drives.begin(), core_.drives.end(),
                                  [](const auto& unit) { return unit->drive.serving(); });
  if (!anyone) {
    finish(Status(StatusCode::unavailable, "no drive can record the fence"));
    return;
  }
  if (record_.generation <= core_.fences.recorded_generation(inode)) {
    // A late duplicate: what it would cut now was written after it. Unless a former attempt was
    // recorded and failed half way.
    const FenceRecord* const unfinished = core_.fences.unfinished(inode, record_.generation);
    if (unfinished == nullptr) {
      finish(Status());
    } else {
      take_up(FenceRecord(*unfinished));
    }
    return;
  }
  if (core_.fences.full() || core_.fences.cuts_of(inode) >= FenceTable::kCutsPerInodeMax) {
    finish(Status(StatusCode::busy, "too many fences are not yet settled"));
    return;
  }
  begun_ = true;
  core_.fence_begins(inode);
  core_.fences.raise(inode, record_.generation, core_.loop.now_ns());
  core_.active.wait_for_older(inode, record_.generation, older_ended_);
}

void FenceOp::on_older_ended(Completion&) {
  record_.floor_version = core_.versions.take_floor();
  // Known before it is durable, so that a rewrite of a log in between carries it too.
  core_.fences.add(record_, core_.loop.now_ns());
  LogRecord log_record = LogRecord::of(LogRecord::Kind::fence);
  log_record.fence = record_;
  logged_done_.start();
  appends_left_ = 1;
  for (const auto& unit : core_.drives) {
    if (!unit->drive.serving()) continue;
    auto append = std::make_unique<Completion>();
    append->bind<&FenceOp::on_append>(this);
    ++appends_left_;
    unit->drive.append_log({log_record}, *append);
    appends_.push_back(std::move(append));
  }
  if (--appends_left_ == 0) core_.loop.complete(logged_done_, Status());
}

void FenceOp::on_append(Completion& done) {
  if (done.status.ok()) ++logged_;
  if (--appends_left_ == 0) core_.loop.complete(logged_done_, Status());
}

// A drive whose log failed is set aside, and finds the fence in the others' logs when it returns.
void FenceOp::on_logged(Completion&) {
  if (logged_ == 0) {
    finish(Status(StatusCode::unavailable, "no drive could record the fence"));
    return;
  }
  carry_out();
}

void FenceOp::carry_out() {
  if (record_.keep_bytes != UINT64_MAX) core_.index.chunks_of(record_.inode, &chunks_);
  const uint64_t keep_chunk = record_.keep_bytes / chunk_bytes();
  std::erase_if(chunks_, [&](const ChunkKey& key) { return key.chunk < keep_chunk; });
  std::sort(chunks_.begin(), chunks_.end());
  drop_some();
}

void FenceOp::on_next_turn(Completion&) {
  drop_some();
}

// From the end, so that the chunk that needs new space is cut when the others have given theirs. A
// big file's chunks go in portions, so that the loop stays responsive.
void FenceOp::drop_some() {
  for (size_t count = 0; !chunks_.empty(); ++count) {
    if (count == kChunksPerTurn) {
      next_turn_.start();
      core_.loop.complete(next_turn_, Status());
      return;
    }
    const ChunkKey key = chunks_.back();
    chunks_.pop_back();
    if (uint64_t{key.chunk} * chunk_bytes() < record_.keep_bytes) {
      cut_chunk(key);  // the last one; goes on in on_rewritten()
      return;
    }
    drop_beyond(key, 0);
  }
  finish(result_);
}

// Extents wholly beyond go. One that straddles the cut is rewritten up to it, as is the block in
// which the cut lies.
void FenceOp::cut_chunk(const ChunkKey& key) {
  const uint64_t keep = record_.keep_bytes % chunk_bytes();
  const auto keep_blocks = static_cast<uint32_t>((keep + kBlockBytes - 1) / kBlockBytes);
  const std::vector<Extent> extents = core_.extents_of(key);
  const uint32_t cut_block = keep % kBlockBytes != 0 ? keep_blocks - 1 : UINT32_MAX;
  uint32_t first = UINT32_MAX;
  uint32_t end = 0;
  for (const VisibleRun& run : visible_runs(extents, 0, keep_blocks)) {
    if (run.extent == VisibleRun::kHole) continue;
    const Extent& extent = extents[static_cast<size_t>(run.extent)];
    if (extent.version >= record_.floor_version) continue;
    const uint32_t run_end = run.first_block + run.blocks;
    if (extent.end_block() > keep_blocks) {
      first = std::min(first, run.first_block);
      end = std::max(end, run_end);
    } else if (run.first_block <= cut_block && cut_block < run_end) {
      first = std::min(first, cut_block);
      end = std::max(end, cut_block + 1);
    }
  }
  if (first == UINT32_MAX) {
    drop_beyond(key, keep_blocks);
    drop_some();
    return;
  }
  cut_ = key;
  RewriteOp::start(core_,
                   {.why = RewriteOp::Why::fence,
                    .key = key,
                    .chunk_log2 = record_.chunk_log2,
                    .first_block = first,
                    .blocks = end - first,
                    .zero_from = keep},
                   rewritten_);
}

void FenceOp::on_rewritten(Completion& done) {
  const uint64_t keep = record_.keep_bytes % chunk_bytes();
  const auto keep_blocks = static_cast<uint32_t>((keep + kBlockBytes - 1) / kBlockBytes);
  if (done.status.ok()) {
    drop_beyond(cut_, keep_blocks);
    // Cached pages of the cut block still show what was cut off.
    core_.slab.hide(cut_, static_cast<uint32_t>(keep / kBlockBytes), kChunkBlocksMax);
  } else if (done.status.is(StatusCode::unavailable)) {
    // Recorded, and nobody can read it meanwhile. Carried out when the drive is opened again.
    parts_out_of_reach_ = true;
    core_.slab.hide(cut_, 0, kChunkBlocksMax);
  } else {
    GD2FS_LOG_WARN("fence of inode {}: chunk {} could not be cut: {}", cut_.inode, cut_.chunk,
                   done.status.to_string());
    result_ = done.status;
  }
  drop_some();
}

// Drops extents of before the fence that reach beyond the blocks kept. Those that straddle have
// been rewritten: what they show below is shadowed.
void FenceOp::drop_beyond(const ChunkKey& key, uint32_t keep_blocks) {
  std::vector<SlotAddress> gone;
  for (const Extent& extent : core_.extents_of(key)) {
    if (extent.version < record_.floor_version && extent.end_block() > keep_blocks) {
      gone.push_back(extent.at);
    }
  }
  core_.slab.hide(key, keep_blocks, kChunkBlocksMax);
  if (!gone.empty()) core_.drop_extents(key, gone);
}

void FenceOp::finish(const Status& status) {
  if (begun_) {
    if (status.ok()) {
      std::vector<uint64_t> drops;
      for (const auto& unit : core_.drives) {
        drops.push_back(unit->drive.slots.drops());
        unit->groups.ride().add_fences.push_back(record_);
        unit->groups.ride_changed();
      }
      if (!parts_out_of_reach_) core_.fences.carried_out(record_, std::move(drops));
    }
    core_.fence_ends(record_.inode);
  }
  core_.loop.complete(done_, status);
  StoreCore& core = core_;
  delete this;
  core.end_operation();
}

}  // namespace gd2fs
