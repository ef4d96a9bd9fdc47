#include "store/rewrite_op.h"

#include <algorithm>

#include "base/check.h"
#include "base/crc32c.h"

namespace gd2fs {

void RewriteOp::start(StoreCore& core, const What& what, Completion& done) {
  done.start();
  auto* const op = new RewriteOp(core, what, done);
  core.begin_operation(*op);
  core.active.enter(op->update_);
}

RewriteOp::RewriteOp(StoreCore& core, const What& what, Completion& done)
    : core_(core), what_(what), done_(done) {
  CHECK(what.blocks > 0);
  update_.key = what.key;
  update_.first_block = what.first_block;
  update_.blocks = what.blocks;
  update_.turn.bind<&RewriteOp::on_turn>(this);
  inode_update_.inode = what.key.inode;
  slot_taken_.bind<&RewriteOp::on_slot>(this);
  read_done_.bind<&RewriteOp::on_run_read>(this);
  written_.bind<&RewriteOp::on_data_written>(this);
  commit_.done.bind<&RewriteOp::on_committed>(this);
  wiped_.bind<&RewriteOp::on_wiped>(this);
}

void RewriteOp::on_turn(Completion&) {
  core_.active.begin(inode_update_);
  if (what_.why != Why::fence && core_.fence_running(what_.key.inode)) {
    finish(Status(StatusCode::busy, "a fence is running"));
    return;
  }
  extents_ = core_.extents_of(what_.key);
  if (extents_.empty() || (what_.why == Why::background && extents_.size() < 2)) {
    finish(Status());
    return;
  }
  taker_.start(core_, what_.key, what_.blocks, slot_taken_);
}

void RewriteOp::on_slot(Completion& done) {
  if (!done.status.ok()) {
    finish(done.status);
    return;
  }
  unit_ = &taker_.unit();
  slot_ = taker_.slot();
  version_ = core_.versions.start();
  crcs_.reserve(what_.blocks);
  poisoned_.assign(what_.blocks, false);
  step_first_ = what_.first_block;
  step_blocks_ = 0;
  next_step();
}

void RewriteOp::next_step() {
  step_first_ += step_blocks_;
  const uint32_t end = what_.first_block + what_.blocks;
  if (step_first_ == end) {
    write_descriptor();
    return;
  }
  step_blocks_ = std::min(kStepBlocks, end - step_first_);
  buffer_ = core_.buffer(uint64_t{kStepBlocks} * kBlockBytes);
  runs_ = visible_runs(extents_, step_first_, step_blocks_);
  run_ = 0;
  gather();
}

void RewriteOp::gather() {
  if (run_ == runs_.size()) {
    step_gathered();
    return;
  }
  take_block_run(runs_[run_]);
}

void RewriteOp::take_block_run(const VisibleRun& run) {
  if (run.extent == VisibleRun::kHole) {
    std::fill_n(block_bytes(run.first_block), uint64_t{run.blocks} * kBlockBytes, std::byte{0});
    const bool unknown = !core_.check_hole(what_.key).ok();
    for (uint32_t i = 0; i < run.blocks; ++i) {
      poisoned_[run.first_block + i - what_.first_block] = unknown;
    }
    ++run_;
    gather();
    return;
  }
  const Extent& extent = extents_[static_cast<size_t>(run.extent)];
  read_.start(
      core_.loop, core_.checks, core_.unit(extent).drive,
      {.key = what_.key, .extent = extent, .first_block = run.first_block, .blocks = run.blocks},
      block_bytes(run.first_block), nullptr, buffer_, read_done_);
}

void RewriteOp::on_run_read(Completion& done) {
  const Status& status = done.status;
  if (!status.ok() && !status.is(StatusCode::io)) {
    finish(status);
    return;
  }
  const VisibleRun run = runs_[run_];
  if (!status.ok() && (run.blocks > 1 || ++tries_ < kReadTriesMax)) {
    if (run.blocks > 1) split_run();
    gather();
    return;
  }
  tries_ = 0;
  for (uint32_t block = run.first_block; block < run.first_block + run.blocks; ++block) {
    if (status.ok() && !read_.bad(block)) continue;
    if (SlabPage* page = core_.slab.map().page_of(what_.key, block)) {
      std::copy_n(page->block(block), kBlockBytes, block_bytes(block));  // saved by the cache
      continue;
    }
    if (status.ok()) core_.report_bad(read_, block, "rewrite");
    std::fill_n(block_bytes(block), kBlockBytes, std::byte{0});
    poisoned_[block - what_.first_block] = true;
  }
  ++run_;
  gather();
}

// One sector that cannot be read must not take its neighbours along.
void RewriteOp::split_run() {
  const VisibleRun run = runs_[run_];
  std::vector<VisibleRun> blocks;
  blocks.reserve(run.blocks);
  for (uint32_t i = 0; i < run.blocks; ++i) {
    blocks.push_back({.first_block = run.first_block + i, .blocks = 1, .extent = run.extent});
  }
  const auto at = runs_.begin() + static_cast<std::ptrdiff_t>(run_);
  runs_.insert(runs_.erase(at), blocks.begin(), blocks.end());
}

// The copy gets a version that no recorded cut applies to, so every cut of what it copies is made
// here: not only the one that asked for it.
void RewriteOp::zero_what_was_cut(const VisibleRun& run) {
  if (run.extent == VisibleRun::kHole) return;
  const Extent& extent = extents_[static_cast<size_t>(run.extent)];
  const uint64_t keep_bytes =
      core_.fences.keep_bytes_in_chunk(what_.key, what_.chunk_log2, extent.version);
  for (uint32_t block = run.first_block; block < run.first_block + run.blocks; ++block) {
    const uint64_t begin = uint64_t{block} * kBlockBytes;
    if (keep_bytes >= begin + kBlockBytes) continue;
    const uint64_t keep = keep_bytes > begin ? keep_bytes - begin : 0;
    std::fill(block_bytes(block) + keep, block_bytes(block) + kBlockBytes, std::byte{0});
    if (keep == 0) poisoned_[block - what_.first_block] = false;
  }
}

void RewriteOp::step_gathered() {
  for (const VisibleRun& run : runs_) zero_what_was_cut(run);
  for (uint32_t block = step_first_; block < step_first_ + step_blocks_; ++block) {
    const bool poisoned = poisoned_[block - what_.first_block];
    if (poisoned && what_.why == Why::background) {
      finish(Status(StatusCode::corrupt, "a block is damaged"));
      return;
    }
    const uint32_t crc = crc32c(ConstBytes(block_bytes(block), kBlockBytes));
    crcs_.push_back(poisoned ? ~crc : crc);
  }
  wrote_ = true;
  const uint8_t slot_class = unit_->drive.slots.file(slot_.file).slot_class;
  Transfer write;
  write.kind = DiskOp::Kind::write;
  write.file = slot_.file;
  write.offset_bytes = unit_->drive.offset_of(slot_) + class_descriptor_bytes(slot_class) +
                       uint64_t{step_first_ - what_.first_block} * kBlockBytes;
  write.buffer = buffer_;
  write.add(buffer_->data(), uint64_t{step_blocks_} * kBlockBytes);
  unit_->drive.transfer(write, written_);
}

void RewriteOp::on_data_written(Completion& done) {
  if (!done.status.ok()) {
    finish(done.status);
  } else {
    next_step();
  }
}

void RewriteOp::write_descriptor() {
  const SlotMap::File& file = unit_->drive.slots.file(slot_.file);
  SlotDescriptor d;
  d.key = what_.key;
  d.chunk_log2 = what_.chunk_log2;
  d.first_block = static_cast<uint16_t>(what_.first_block);
  d.blocks = static_cast<uint16_t>(what_.blocks);
  d.version = version_;
  d.generation = core_.fences.generation_of(what_.key.inode);
  d.settled_version = core_.versions.settled();
  d.drive_tag = unit_->drive.uuid.tag();
  d.slot_class = file.slot_class;
  d.file_number = file.number;
  d.slot = slot_.slot;
  d.block_crcs = crcs_;
  buffer_ = core_.buffer(class_descriptor_bytes(file.slot_class));
  encode_descriptor(d, buffer_->bytes());

  commit_.slot = slot_;
  commit_.row = index_row(unit_->drive.place_of(slot_), d);
  written_.bind<&RewriteOp::on_descriptor_written>(this);
  Transfer write;
  write.kind = DiskOp::Kind::write;
  write.file = slot_.file;
  write.offset_bytes = unit_->drive.offset_of(slot_);
  write.buffer = buffer_;
  write.add(buffer_->data(), buffer_->size());
  unit_->drive.transfer(write, written_);
}

void RewriteOp::on_descriptor_written(Completion& done) {
  if (!done.status.ok()) {
    finish(done.status);
  } else {
    unit_->groups.add(commit_);
  }
}

void RewriteOp::on_committed(Completion& done) {
  if (done.status.ok()) {
    unit_->drive.slots.settled(slot_);
    const Extent extent{.version = version_,
                        .at = {unit_->drive.index(), slot_.file, slot_.slot},
                        .first_block = static_cast<uint16_t>(what_.first_block),
                        .blocks = static_cast<uint16_t>(what_.blocks)};
    core_.add_extent(what_.key, what_.chunk_log2, extent);
    unit_ = nullptr;
    core_.versions.end(version_);
    finish(Status());
    return;
  }
  failure_ = done.status;
  if (!failure_.is(StatusCode::no_space)) {
    finish(failure_);
    return;
  }
  // Whole on the drive, but not in the index: a rebuild must not find it.
  wipe_.start(core_, *unit_, {slot_}, wiped_);
}

void RewriteOp::on_wiped(Completion& done) {
  if (done.status.ok()) wrote_ = false;
  finish(failure_);
}

// On a drive that was set aside the outcome is unknown: its slot and version stay taken for good.
void RewriteOp::finish(const Status& status) {
  if (unit_ != nullptr && unit_->drive.serving()) {
    // Data without a descriptor is nothing; what the slot held before may still be there.
    unit_->drive.slots.free(slot_);
    if (version_ != 0) core_.versions.end(version_);
  }
  core_.active.end(inode_update_);
  core_.active.leave(update_);
  core_.loop.complete(done_, status);
  StoreCore& core = core_;
  delete this;
  core.end_operation();
}

}  // namespace gd2fs
