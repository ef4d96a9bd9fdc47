#include "store/fence_op.h"

#include <algorithm>

#include "base/check.h"
#include "base/log.h"
#include "store/stranded_cut.h"

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
  if (core_.write_back.stranded_bytes() != 0) {
    const Status status = cut_stranded(core_.slab, record_);
    if (!status.ok()) {
      finish(status);
      return;
    }
  }
  if (record_.keep_bytes != UINT64_MAX) core_.index.chunks_of(record_.inode, &chunks_);
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
    cut_ = chunks_.back();
    chunks_.pop_back();
    if (cut_chunk()) return;  // goes on in on_rewritten()
  }
  finish(result_);
}

// Carries out every recorded cut of the chunk, not only this fence's: of several that were not (a
// drive was away), the first to rewrite something lifts it above the floors of all. Extents wholly
// beyond go. What one that straddles still shows is rewritten: then the answer is true.
bool FenceOp::cut_chunk() {
  const std::vector<Extent> extents = core_.extents_of(cut_, &cut_chunk_log2_);
  const auto keep_bytes = [&](const Extent& extent) {
    return core_.fences.keep_bytes_in_chunk(cut_, cut_chunk_log2_, extent.version);
  };
  cut_extents_.clear();
  cut_from_block_ = kChunkBlocksMax;
  for (const Extent& extent : extents) {
    if (keep_bytes(extent) >= uint64_t{extent.end_block()} * kBlockBytes) continue;
    cut_extents_.push_back(extent.at);
    cut_from_block_ =
        std::min(cut_from_block_, static_cast<uint32_t>(keep_bytes(extent) / kBlockBytes));
  }
  if (cut_extents_.empty()) return false;
  uint32_t first = UINT32_MAX;
  uint32_t end = 0;
  for (const VisibleRun& run : visible_runs(extents, 0, blocks_in_chunk(cut_chunk_log2_))) {
    if (run.extent == VisibleRun::kHole) continue;
    const Extent& extent = extents[static_cast<size_t>(run.extent)];
    const uint64_t keep = keep_bytes(extent);
    const auto keep_blocks = static_cast<uint32_t>((keep + kBlockBytes - 1) / kBlockBytes);
    if (keep >= uint64_t{extent.end_block()} * kBlockBytes || run.first_block >= keep_blocks) {
      continue;
    }
    first = std::min(first, run.first_block);
    end = std::max(end, std::min(run.first_block + run.blocks, keep_blocks));
  }
  if (first == UINT32_MAX) {
    drop_what_was_cut();
    return false;
  }
  RewriteOp::start(core_,
                   {.why = RewriteOp::Why::fence,
                    .key = cut_,
                    .chunk_log2 = cut_chunk_log2_,
                    .first_block = first,
                    .blocks = end - first},
                   rewritten_);
  return true;
}

void FenceOp::on_rewritten(Completion& done) {
  if (done.status.ok()) {
    drop_what_was_cut();
  } else if (done.status.is(StatusCode::unavailable)) {
    // Recorded, and nobody can read it meanwhile. Carried out when the drive is opened again.
    parts_out_of_reach_ = true;
    hide_but_stranded(core_.slab, cut_, 0);
  } else {
    GD2FS_LOG_WARN("fence of inode {}: chunk {} could not be cut: {}", cut_.inode, cut_.chunk,
                   done.status.to_string());
    result_ = done.status;
  }
  drop_some();
}

// What those that straddle show below the cut is in the rewritten one.
void FenceOp::drop_what_was_cut() {
  hide_but_stranded(core_.slab, cut_, cut_from_block_);
  core_.drop_extents(cut_, cut_extents_);
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
      if (!parts_out_of_reach_) core_.fences.carried_out(record_, drops);
    }
    core_.fence_ends(record_.inode);
  }
  core_.loop.complete(done_, status);
  StoreCore& core = core_;
  delete this;
  core.end_operation();
}

}  // namespace gd2fs
