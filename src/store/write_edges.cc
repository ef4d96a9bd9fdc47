// Of a write that begins or ends within a block: what the block held beside the write's bytes, from
// the slab or from the drive.
#include <algorithm>

#include "store/write_op.h"

namespace gd2fs {

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

}  // namespace gd2fs
