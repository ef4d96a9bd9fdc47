#include "store/write_op.h"

#include <algorithm>

#include "base/check.h"
#include "base/crc32c.h"

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

// --- commit: merging edges -------------------------------------------------------------------

void StoreWriteState::merge_edges() {
  const StoreWrite& w = *write_;
  if (w.offset_bytes % kBlockBytes == 0 && w.length_bytes % kBlockBytes == 0) {
    write_slot();
    return;
  }
  if (shared_->merges.take(merge_budget_)) merge_within_budget();
}

// The share of the budget came with the completion.
void StoreWriteState::on_merge_budget(Completion&) {
  merge_within_budget();
}

void StoreWriteState::merge_within_budget() {
  const StoreWrite& w = *write_;
  const uint32_t last = update_.end_block() - 1;
  const bool cut_head = w.offset_bytes % kBlockBytes != 0;
  const bool cut_tail = (w.offset_bytes + w.length_bytes) % kBlockBytes != 0;
  edges_left_ = 1;  // this call's own
  if (cut_head || (cut_tail && last == update_.first_block)) {
    merge_edge(head_, update_.first_block);
  }
  if (cut_tail && last != update_.first_block) merge_edge(tail_, last);
  edge_done(Status());
}

void StoreWriteState::merge_edge(Edge& edge, uint32_t block) {
  edge.block = block;
  ++edges_left_;
  if (SlabPage* const page = core_->slab.map().page_of(write_->key, block)) {
    copy_around(block, page->block(block));
    edge_done(Status());
    return;
  }
  const std::vector<Extent> extents = core_->extents_of(write_->key);
  const VisibleRun run = visible_runs(extents, block, 1).front();
  if (run.extent == VisibleRun::kHole) {
    const Status known = core_->check_hole(write_->key);
    if (!known.ok()) {
      edge_done(known);
      return;
    }
    copy_around(block, nullptr);
    edge_done(Status());
    return;
  }
  const Extent& extent = extents[static_cast<size_t>(run.extent)];
  edge.buffer = core_->buffer(kBlockBytes);
  edge.read.start(core_->loop, core_->checks, core_->unit(extent).drive,
                  {.key = write_->key, .extent = extent, .first_block = block, .blocks = 1},
                  edge.buffer->data(), nullptr, edge.buffer, edge.done);
}

// Fills what the caller's bytes leave of one block of the page.
void StoreWriteState::copy_around(uint32_t block, const std::byte* old_block) {
  std::byte* const new_block = page_->block(block);
  const uint64_t begin = uint64_t{block} * kBlockBytes;
  const uint64_t write_begin =
      std::clamp<uint64_t>(write_->offset_bytes, begin, begin + kBlockBytes);
  const uint64_t write_end = std::clamp<uint64_t>(
      uint64_t{write_->offset_bytes} + write_->length_bytes, begin, begin + kBlockBytes);
  const auto copy = [&](uint64_t from, uint64_t to) {
    if (old_block != nullptr) {
      std::copy(old_block + from, old_block + to, new_block + from);
    } else {
      std::fill(new_block + from, new_block + to, std::byte{0});
    }
  };
  copy(0, write_begin - begin);
  copy(write_end - begin, kBlockBytes);
}

void StoreWriteState::on_head(Completion&) {
  on_edge(head_);
}
void StoreWriteState::on_tail(Completion&) {
  on_edge(tail_);
}

void StoreWriteState::on_edge(Edge& edge) {
  Status status = edge.done.status;
  if (status.ok() && edge.read.any_bad()) {
    core_->report_bad(edge.read, edge.block, "write");
    status = Status(StatusCode::corrupt, "the rest of a block that is cut is damaged");
  }
  if (status.ok()) copy_around(edge.block, edge.buffer->data());
  edge_done(status);
}

void StoreWriteState::edge_done(const Status& status) {
  if (merge_status_.ok()) merge_status_ = status;
  if (--edges_left_ != 0) return;
  head_.buffer.reset();
  tail_.buffer.reset();
  shared_->merges.give(core_->loop);
  if (merge_status_.ok()) {
    write_slot();
  } else {
    finish(merge_status_);
  }
}

// --- commit: to the drive and into the index -------------------------------------------------

void StoreWriteState::write_slot() {
  const StoreWrite& w = *write_;
  const SlotMap::File& file = unit_->drive.slots.file(slot_.file);
  SlotDescriptor d;
  d.key = w.key;
  d.chunk_log2 = w.chunk_log2;
  d.first_block = static_cast<uint16_t>(update_.first_block);
  d.blocks = static_cast<uint16_t>(update_.blocks);
  d.version = version_;
  d.generation = w.generation;
  d.group = w.group;
  d.epoch = w.epoch;
  d.tag = w.tag;
  d.settled_version = core_->versions.settled();
  d.drive_tag = unit_->drive.uuid.tag();
  d.slot_class = file.slot_class;
  d.file_number = file.number;
  d.slot = slot_.slot;
  d.block_crcs.reserve(update_.blocks);
  for (uint32_t block = update_.first_block; block < update_.end_block(); ++block) {
    const uint32_t crc = w.block_crcs.empty() ? crc32c(ConstBytes(page_->block(block), kBlockBytes))
                                              : w.block_crcs[block - update_.first_block];
    page_->set_crc(block, crc);
    d.block_crcs.push_back(crc);
  }
  const std::shared_ptr<AlignedBuffer> buffer =
      core_->buffer(class_descriptor_bytes(file.slot_class));
  encode_descriptor(d, buffer->bytes());

  commit_.slot = slot_;
  commit_.row = {.place = unit_->drive.place_of(slot_),
                 .key = d.key,
                 .chunk_log2 = d.chunk_log2,
                 .first_block = d.first_block,
                 .blocks = d.blocks,
                 .version = d.version,
                 .generation = d.generation,
                 .group = d.group,
                 .epoch = d.epoch};
  commit_.tag = {.tag = w.tag, .key = w.key, .version = version_};
  commit_.client_low = w.tag.low;
  commit_.patient = uint64_t{update_.blocks} * kBlockBytes >= core_->options.patient_bytes;
  // Set aside while edges were read: what it refuses is not acknowledged.
  if (w.ack_from_memory && unit_->drive.serving()) acknowledge();

  Transfer transfer;
  transfer.kind = DiskOp::Kind::write;
  transfer.file = slot_.file;
  transfer.offset_bytes = unit_->drive.offset_of(slot_);
  transfer.page = page_;
  transfer.buffer = buffer;
  transfer.add(buffer->data(), buffer->size());
  transfer.add(page_->data(), uint64_t{update_.blocks} * kBlockBytes);
  unit_->groups.expect(commit_);
  unit_->drive.transfer(transfer, written_);
}

void StoreWriteState::on_written(Completion& done) {
  if (done.status.ok()) {
    unit_->groups.add(commit_);
  } else {
    unit_->groups.give_up(commit_);
    // Part of it may have reached the drive, which is set aside.
    outcome_unknown();
    finish(Status(StatusCode::unavailable, "the drive failed during the write"));
  }
}

void StoreWriteState::on_committed(Completion& done) {
  failure_ = done.status;
  if (failure_.ok()) {
    publish();
    finish(Status());
  } else if (failure_.is(StatusCode::no_space)) {
    if (try_commit_again()) return;
    // Whole on the drive, but not in the index: a rebuild must not find it.
    wipe_.start(*core_, *unit_, {slot_}, wiped_);
  } else {
    outcome_unknown();
    finish(failure_);
  }
}

// The version stays in flight for good, and so does what it may have left on the drive.
void StoreWriteState::outcome_unknown() {
  versioned_ = false;
  core_->put_in_limbo(write_->tag, write_->key);
  ChunkIndex::View view;
  if (!core_->index.find(write_->key, &view)) core_->put_in_limbo(write_->key);
}

void StoreWriteState::on_wiped(Completion& done) {
  if (done.status.ok()) {
    finish(failure_);
    return;
  }
  // It may be there at the next start: nobody may be told that it did not happen.
  outcome_unknown();
  finish(Status(StatusCode::unavailable, "the drive failed during the write"));
}

void StoreWriteState::publish() {
  const StoreWrite& w = *write_;
  if (w.tag.incarnation != 0) {
    std::vector<DedupWindow::Forgotten> forgotten;
    core_->dedup.record(commit_.tag, unit_->drive.index(), core_->loop.now_ns(), &forgotten);
    core_->forget_tags(forgotten);
  }
  unit_->drive.slots.settled(slot_);
  const Extent extent{.version = version_,
                      .at = {unit_->drive.index(), slot_.file, slot_.slot},
                      .first_block = static_cast<uint16_t>(update_.first_block),
                      .blocks = static_cast<uint16_t>(update_.blocks)};
  core_->add_extent(w.key, w.chunk_log2, extent);
  if (write_back_ == 0) core_->slab.show(*page_, update_.first_block, update_.blocks);
  write_->version = version_;
  unit_ = nullptr;  // the slot is the extent's now
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
