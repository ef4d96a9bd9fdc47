#include "store/write_op.h"

#include "base/check.h"

namespace gd2fs {
namespace {

Status set_aside() {
  return {StatusCode::unavailable, "the chunk's drive is set aside"};
}

}  // namespace

bool CommittingTags::wait(StoreWriteState& op, const MutationTag& tag, const ChunkKey& key) {
  const auto found = waiting_.find(Name{tag.incarnation, tag.sequence, key});
  if (found == waiting_.end()) return false;
  found->second.push_back(&op);
  return true;
}

void CommittingTags::enter(const MutationTag& tag, const ChunkKey& key) {
  CHECK(waiting_.try_emplace(Name{tag.incarnation, tag.sequence, key}).second);
}

std::vector<StoreWriteState*> CommittingTags::leave(const MutationTag& tag, const ChunkKey& key) {
  const auto found = waiting_.find(Name{tag.incarnation, tag.sequence, key});
  CHECK(found != waiting_.end());
  std::vector<StoreWriteState*> waiting = std::move(found->second);
  waiting_.erase(found);
  return waiting;
}

bool MergeBudget::take(Completion& later) {
  if (used_ < kMergesMax) {
    ++used_;
    return true;
  }
  later.start();
  queue_.push_back(&later);
  return false;
}

void MergeBudget::give(Loop& loop) {
  if (queue_.empty()) {
    --used_;
    return;
  }
  Completion* const next = queue_.front();
  queue_.pop_front();
  loop.complete(*next, Status());
}

WriteShared::WriteShared() : pool("writes_max", StoreCore::kWritesMax) {}

StoreWriteState::StoreWriteState() {
  slot_taken_.bind<&StoreWriteState::on_slot>(this);
  memory_.done.bind<&StoreWriteState::on_memory>(this);
  update_.turn.bind<&StoreWriteState::on_turn>(this);
  fence_ended_.bind<&StoreWriteState::on_fence_ended>(this);
  rewritten_.bind<&StoreWriteState::on_rewritten>(this);
  merge_budget_.bind<&StoreWriteState::on_merge_budget>(this);
  head_.done.bind<&StoreWriteState::on_head>(this);
  tail_.done.bind<&StoreWriteState::on_tail>(this);
  written_.bind<&StoreWriteState::on_written>(this);
  commit_.done.bind<&StoreWriteState::on_committed>(this);
  wiped_.bind<&StoreWriteState::on_wiped>(this);
  retry_.bind<&StoreWriteState::on_retry>(this);
}

// --- reserve ---------------------------------------------------------------------------------

void StoreWriteState::reserve(StoreCore& core, WriteShared& shared, StoreWrite& write) {
  core_ = &core;
  shared_ = &shared;
  write_ = &write;
  committing_ = aborted_ = has_tag_ = in_chunk_ = begun_ = versioned_ = false;
  unit_ = nullptr;
  page_ = nullptr;
  version_ = 0;
  write_back_ = 0;
  commit_tries_ = 0;
  failure_ = merge_status_ = Status();
  head_.buffer.reset();
  tail_.buffer.reset();
  core.begin_operation();
  write.buffer = {};
  write.replayed = false;
  write.version = 0;
  begin_reserve();
}

void StoreWriteState::begin_reserve() {
  const Status status = check();
  if (!status.ok()) {
    finish(status);
    return;
  }
  if (ask_tag() != Question::passed) return;
  const StoreWrite& w = *write_;
  const Status generation = core_->check_generation(w.key.inode, w.generation);
  if (!generation.ok()) {
    finish(generation);
    return;
  }
  update_.key = w.key;
  update_.first_block = w.offset_bytes / kBlockBytes;
  update_.blocks = (w.offset_bytes + w.length_bytes - 1) / kBlockBytes + 1 - update_.first_block;
  inode_update_.inode = w.key.inode;
  inode_update_.generation = w.generation;
  slot_taker_.start(*core_, w.key, update_.blocks, slot_taken_);
}

// In the order that the protocol fixes: below the window, already done, being done; only then may
// anyone ask about generations.
StoreWriteState::Question StoreWriteState::ask_tag() {
  const StoreWrite& w = *write_;
  if (w.tag.incarnation == 0 || has_tag_) return Question::passed;
  uint64_t version = 0;
  switch (core_->dedup.check(w.tag, w.key, &version)) {
    case DedupWindow::Verdict::stale:
      finish(Status(StatusCode::stale, "the request is below its client's window"));
      return Question::answered;
    case DedupWindow::Verdict::replayed:
      finish_replayed(version);
      return Question::answered;
    case DedupWindow::Verdict::fresh:
      break;
  }
  // Anything but "ask again later" would be a promise that no earlier copy has happened.
  if (core_->in_limbo(w.tag, w.key)) {
    finish(Status(StatusCode::unavailable,
                  "an earlier copy of the write may be on a drive that failed"));
    return Question::answered;
  }
  return shared_->committing.wait(*this, w.tag, w.key) ? Question::waits : Question::passed;
}

void StoreWriteState::tag_free() {
  if (committing_) {
    begin_commit();
  } else {
    begin_reserve();
  }
}

Status StoreWriteState::check() const {
  const StoreWrite& w = *write_;
  GD2FS_TRY(core_->check_range(w.chunk_log2, w.offset_bytes, w.length_bytes));
  if (w.length_bytes == 0) return Status(StatusCode::invalid, "a write of nothing");
  const uint64_t blocks = (uint64_t{w.offset_bytes} + w.length_bytes - 1) / kBlockBytes + 1 -
                          w.offset_bytes / kBlockBytes;
  if (!core_->slab.fits(static_cast<uint32_t>(blocks))) {
    return Status(StatusCode::invalid, "larger than a slab arena");
  }
  if (w.tag.incarnation != 0) {
    if (w.tag.low > w.tag.sequence) {
      return Status(StatusCode::invalid, "a sequence below its own window");
    }
    if (core_->dedup.full(w.tag.incarnation)) {
      return Status(StatusCode::busy, "clients_max reached");
    }
  }
  ChunkIndex::View view;
  if (core_->index.find(w.key, &view) && view.chunk_log2 != w.chunk_log2) {
    return Status(StatusCode::invalid, "the chunk has another size");
  }
  return {};
}

void StoreWriteState::on_slot(Completion& done) {
  if (!done.status.ok()) {
    finish(done.status);
    return;
  }
  unit_ = &slot_taker_.unit();
  slot_ = slot_taker_.slot();
  if (committing_) {
    on_turn(done);  // what it has waited for may have changed meanwhile
    return;
  }
  if (core_->slab.anyone_waits()) {
    core_->slab.wait(memory_);
  } else {
    take_page();
  }
}

void StoreWriteState::take_page() {
  page_ = core_->slab.take(write_->key, update_.first_block, update_.blocks);
  if (page_ == nullptr) {
    core_->slab.wait(memory_);
    return;
  }
  core_->slab.served(memory_);
  write_->buffer = Bytes(page_->data() + write_->offset_bytes % kBlockBytes, write_->length_bytes);
  core_->loop.complete(write_->done, Status());
}

void StoreWriteState::on_memory(Completion& done) {
  if (done.status.ok()) {
    take_page();
  } else {
    finish(done.status);
  }
}

void StoreWriteState::abort() {
  aborted_ = true;
  finish(Status(StatusCode::canceled));
}

// --- commit: the turn ------------------------------------------------------------------------

void StoreWriteState::commit() {
  CHECK(page_ != nullptr && !committing_);
  CHECK(write_->block_crcs.empty() ||
        (write_->offset_bytes % kBlockBytes == 0 && write_->length_bytes % kBlockBytes == 0 &&
         write_->block_crcs.size() == update_.blocks));
  committing_ = true;
  unit_->drive.last_write_ns = core_->loop.now_ns();
  begin_commit();
}

void StoreWriteState::begin_commit() {
  const StoreWrite& w = *write_;
  if (ask_tag() != Question::passed) return;
  Status status = core_->check_generation(w.key.inode, w.generation);
  if (status.ok() && !unit_->drive.serving()) status = set_aside();
  if (!status.ok()) {
    finish(status);
    return;
  }
  if (w.tag.incarnation != 0 && !has_tag_) {
    shared_->committing.enter(w.tag, w.key);
    has_tag_ = true;
  }
  // Its generation is newer than what the fence is still cutting away.
  if (core_->fence_running(w.key.inode)) {
    core_->wait_for_fence(w.key.inode, fence_ended_);
    return;
  }
  in_chunk_ = true;
  core_->active.enter(update_);
}

void StoreWriteState::on_fence_ended(Completion&) {
  begin_commit();
}

void StoreWriteState::on_turn(Completion&) {
  // While this one queued a fence may have come, or the drive may have been set aside.
  Status status = core_->check_generation(write_->key.inode, write_->generation);
  if (status.ok() && !unit_->drive.serving()) status = set_aside();
  if (!status.ok()) {
    finish(status);
    return;
  }
  if (!core_->fence_running(write_->key.inode) && !too_many_extents()) {
    if (on_wrong_drive()) {
      take_slot_anew();
    } else {
      start_update();
    }
    return;
  }
  // The fence's rewrite, or one that makes room for another extent, must have its turn first.
  core_->active.leave(update_);
  in_chunk_ = false;
  if (core_->fence_running(write_->key.inode)) {
    core_->wait_for_fence(write_->key.inode, fence_ended_);
    return;
  }
  RewriteOp::start(*core_,
                   {.why = RewriteOp::Why::make_room,
                    .key = write_->key,
                    .chunk_log2 = write_->chunk_log2,
                    .first_block = 0,
                    .blocks = blocks_in_chunk(write_->chunk_log2)},
                   rewritten_);
}

// Others that have started may each add an extent without shadowing one.
bool StoreWriteState::too_many_extents() {
  std::vector<Extent> extents = core_->extents_of(write_->key);
  const uint32_t others = core_->active.started(update_);
  if (extents.size() + others < kExtentsPerChunkMax) return false;
  extents.push_back({.version = UINT64_MAX,
                     .first_block = static_cast<uint16_t>(update_.first_block),
                     .blocks = static_cast<uint16_t>(update_.blocks)});
  return extents.size() - shadowed_extents(extents).size() + others > kExtentsPerChunkMax;
}

// All extents of a chunk are on one drive. It was new when this one took its slot, and the first to
// have its turn has a slot elsewhere; in limbo, nobody knows where.
bool StoreWriteState::on_wrong_drive() {
  const DriveUnit* const right = core_->drive_of(write_->key);
  return (right != nullptr && right != unit_) || core_->in_limbo(write_->key);
}

// Keeps its turn, so that those behind it stay there.
void StoreWriteState::take_slot_anew() {
  give_slot_back();
  slot_taker_.start(*core_, write_->key, update_.blocks, slot_taken_);
}

void StoreWriteState::on_rewritten(Completion& done) {
  if (done.status.ok() || done.status.is(StatusCode::busy)) {  // busy: a fence is running
    begin_commit();
  } else {
    finish(done.status);
  }
}

void StoreWriteState::start_update() {
  begun_ = true;
  update_.drive = unit_->drive.index();
  core_->active.begin(inode_update_);
  version_ = core_->versions.start();
  versioned_ = true;
  merge_edges();
}

// --- the end ---------------------------------------------------------------------------------

void StoreWriteState::finish_replayed(uint64_t version) {
  write_->replayed = true;
  write_->version = version;
  finish(Status());
}

void StoreWriteState::give_slot_back() {
  if (unit_ != nullptr && unit_->drive.serving()) unit_->drive.slots.free(slot_);
  unit_ = nullptr;
}

void StoreWriteState::finish(const Status& status) {
  StoreCore& core = *core_;
  WriteShared& shared = *shared_;
  StoreWrite& write = *write_;
  give_slot_back();
  if (versioned_) core.versions.end(version_);
  if (write_back_ != 0) end_write_back(status);
  if (page_ != nullptr) core.slab.unhold(*page_);  // a failed edge read may still hold it too
  core.slab.served(memory_);
  if (begun_) core.active.end(inode_update_);
  if (in_chunk_) core.active.leave(update_);
  write.buffer = {};
  of(write) = nullptr;
  if (!aborted_ && write_back_ == 0) core.loop.complete(write.done, status);
  std::vector<StoreWriteState*> waiting;
  if (has_tag_) waiting = shared.committing.leave(write.tag, write.key);
  shared.pool.put(this);
  for (StoreWriteState* op : waiting) op->tag_free();
  core.end_operation();
}

}  // namespace gd2fs
