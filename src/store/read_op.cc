#include "store/read_op.h"

#include <algorithm>

#include "base/check.h"
#include "base/crc32c.h"
#include "wire/frame.h"

namespace gd2fs {

static_assert(kSliceBlocksMax * kBlockBytes == kStripeDefaultBytes);

StoreReadState::StoreReadState() {
  memory_.done.bind<&StoreReadState::on_memory>(this);
}

void StoreReadState::start(StoreCore& core, Pool<StoreReadState>& home, StoreRead& read) {
  core_ = &core;
  home_ = &home;
  read_ = &read;
  read.hit = false;
  first_error_ = Status();
  wide_ = false;
  exact_only_ = false;
  missed_ = false;
  core.begin_operation();
  const Status status = check();
  if (!status.ok() || read.length_bytes == 0) {
    finish(status);
    return;
  }
  first_block_ = read.offset_bytes / kBlockBytes;
  end_block_ = (read.offset_bytes + read.length_bytes - 1) / kBlockBytes + 1;
  plan();
}

Status StoreReadState::check() const {
  GD2FS_TRY(core_->check_range(read_->chunk_log2, read_->offset_bytes, read_->length_bytes));
  GD2FS_TRY(core_->check_generation(read_->key.inode, read_->generation));
  ChunkIndex::View view;
  if (core_->index.find(read_->key, &view) && view.chunk_log2 != read_->chunk_log2) {
    return Status(StatusCode::invalid, "the chunk has another size");
  }
  return {};
}

void StoreReadState::plan() {
  Status status = take_snapshot();
  if (!status.ok()) {
    finish(status);
    return;
  }
  if (!start_fills_somehow()) {
    drop_pieces();
    if (read_->fill_only) {
      finish(Status(StatusCode::busy, "no room to fill the slab"));
    } else {
      core_->slab.wait(memory_);
    }
    return;
  }
  core_->slab.served(memory_);
  join_fills();
  if (waiting_ != 0) {
    missed_ = true;
    if (!read_->fill_only) ++core_->counters.read_misses;
    return;
  }
  read_->hit = waits_.empty();
  if (read_->hit && !read_->fill_only) ++core_->counters.read_hits;
  finish(Status());
}

// Where no long run can be had (a slab full of pinned or held pages leaves gaps), shorter ones do.
bool StoreReadState::start_fills_somehow() {
  const uint32_t most = std::max<uint32_t>(read_->fill_bytes_max / kBlockBytes, 1);
  if (start_fills(most)) return true;
  if (read_->sequential && !exact_only_) {
    exact_only_ = true;  // no room to read ahead
    if (start_fills(most)) return true;
  }
  for (uint32_t blocks = most; blocks > 1;) {
    blocks = std::max<uint32_t>(blocks / 4, 1);
    if (start_fills(blocks)) return true;
  }
  return false;
}

// Cached pages are held from here on, and extents copied: nothing that happens later changes this
// answer.
Status StoreReadState::take_snapshot() {
  extents_.clear();
  uint32_t block = first_block_;
  const PageMap::Segments* const segments = core_->slab.map().find(read_->key);
  if (segments != nullptr) {
    for (const PageSegment& segment : *segments) {
      const uint32_t begin = std::max(segment.first_block, block);
      const uint32_t end = std::min(segment.end_block(), end_block_);
      if (begin >= end) continue;
      if (begin > block) GD2FS_TRY(add_uncached(block, begin - block));
      core_->slab.hold(*segment.page);
      // A stream's further steps through a page are one use, else one scan would make it hot.
      const bool first_step = !read_->sequential || begin == segment.first_block;
      if (first_step && !read_->fill_only) core_->slab.used(*segment.page);
      pieces_.push_back({.first_block = begin, .blocks = end - begin, .page = segment.page});
      block = end;
    }
  }
  if (block < end_block_) GD2FS_TRY(add_uncached(block, end_block_ - block));
  return {};
}

Status StoreReadState::add_uncached(uint32_t first_block, uint32_t blocks) {
  if (extents_.empty()) extents_ = core_->extents_of(read_->key);
  for (const VisibleRun& run : visible_runs(extents_, first_block, blocks)) {
    if (run.extent == VisibleRun::kHole) {
      GD2FS_TRY(core_->check_hole(read_->key));
      pieces_.push_back({.first_block = run.first_block, .blocks = run.blocks});
      continue;
    }
    const Extent& extent = extents_[static_cast<size_t>(run.extent)];
    if (!core_->unit(extent).drive.serving()) {
      return Status(StatusCode::unavailable, "the chunk's drive is set aside");
    }
    pieces_.push_back({.first_block = run.first_block, .blocks = run.blocks, .extent = &extent});
  }
  return {};
}

// What must be read and nobody reads yet, cut to fills. A sequential reader gets the whole run that
// its extent shows, since the rest will be asked for next.
std::vector<ExtentRead::Range> StoreReadState::wanted_fills(uint32_t fill_blocks_max) const {
  std::vector<ExtentRead::Range> wanted;
  const bool wide = read_->sequential && !exact_only_;
  for (const Piece& piece : pieces_) {
    if (piece.extent == nullptr) continue;
    uint32_t begin = piece.first_block;
    uint32_t end = piece.first_block + piece.blocks;
    if (wide) {
      const auto free_to_fill = [&](uint32_t block) {
        return core_->shows(read_->key, *piece.extent, block) &&
               core_->slab.map().page_of(read_->key, block) == nullptr;
      };
      while (begin > piece.extent->first_block && free_to_fill(begin - 1)) --begin;
      while (end < piece.extent->end_block() && free_to_fill(end)) ++end;
    }
    for (uint32_t block = begin; block < end;) {
      if (Fill* const fill = Fill::find(*core_, read_->key, *piece.extent, block)) {
        block = fill->end_block();
        continue;
      }
      uint32_t stop = std::min(end, block + fill_blocks_max);
      for (uint32_t next = block + 1; next < stop; ++next) {
        if (Fill::find(*core_, read_->key, *piece.extent, next) != nullptr) stop = next;
      }
      wanted.push_back({.key = read_->key,
                        .extent = *piece.extent,
                        .first_block = block,
                        .blocks = stop - block,
                        .left_bytes = left_behind(stop)});
      block = stop;
    }
  }
  return wanted;
}

// Of the request, behind this block. A wide fill may be behind the read's own end.
uint64_t StoreReadState::left_behind(uint32_t block) const {
  if (read_->left_bytes == UINT64_MAX) return UINT64_MAX;
  const uint64_t all = uint64_t{end_block_} * kBlockBytes + read_->left_bytes;
  return all - std::min(all, uint64_t{block} * kBlockBytes);
}

// All the memory or none: who waits for memory holds none.
bool StoreReadState::start_fills(uint32_t fill_blocks_max) {
  const std::vector<ExtentRead::Range> wanted = wanted_fills(fill_blocks_max);
  if (wanted.empty()) return true;
  std::vector<SlabPage*> pages;
  const auto give_back = [&] {
    for (SlabPage* page : pages) core_->slab.unhold(*page);
  };
  const Slab::For use = read_->sequential ? Slab::For::stream : Slab::For::fill;
  for (const ExtentRead::Range& range : wanted) {
    SlabPage* const page = core_->slab.take(range.key, range.first_block, range.blocks, use);
    if (page == nullptr) {
      give_back();
      return false;
    }
    pages.push_back(page);
  }
  for (size_t i = 0; i < wanted.size(); ++i) {
    wide_ = wide_ || wanted[i].first_block < first_block_ ||
            wanted[i].first_block + wanted[i].blocks > end_block_;
    Fill::start(*core_, wanted[i], *pages[i]);
  }
  return true;
}

void StoreReadState::join_fills() {
  const bool all_cached =
      std::ranges::none_of(pieces_, [](const Piece& piece) { return piece.extent != nullptr; });
  if (all_cached) return;
  std::vector<Piece> joined;
  for (const Piece& piece : pieces_) {
    if (piece.extent == nullptr) {
      joined.push_back(piece);
      continue;
    }
    for (uint32_t block = piece.first_block; block < piece.first_block + piece.blocks;) {
      Fill* const fill = Fill::find(*core_, read_->key, *piece.extent, block);
      CHECK(fill != nullptr);
      const uint32_t end = std::min(fill->end_block(), piece.first_block + piece.blocks);
      auto wait = std::make_unique<FillWait>();
      wait->first_block = block;
      wait->blocks = end - block;
      wait->done.bind<&StoreReadState::on_fill>(this);
      ++waiting_;
      fill->join(*wait);
      joined.push_back({.first_block = block, .blocks = end - block, .wait = wait.get()});
      waits_.push_back(std::move(wait));
      block = end;
    }
  }
  pieces_ = std::move(joined);
}

void StoreReadState::drop_pieces() {
  for (Piece& piece : pieces_) {
    SlabPage* const page = piece.wait != nullptr ? piece.wait->page : piece.page;
    if (page != nullptr) core_->slab.unhold(*page);
  }
  pieces_.clear();
  waits_.clear();
}

void StoreReadState::on_memory(Completion& done) {
  if (!done.status.ok()) {
    finish(done.status);
    return;
  }
  // Time has passed: the inode may have been fenced meanwhile.
  const Status status = check();
  if (!status.ok()) {
    finish(status);
    return;
  }
  plan();
}

void StoreReadState::on_fill(Completion& done) {
  if (first_error_.ok() && !done.status.ok()) first_error_ = done.status;
  if (--waiting_ != 0) return;
  if (first_error_.is(StatusCode::io) && wide_ && !exact_only_) {
    // Perhaps it is only the part that nobody asked for that cannot be read.
    drop_pieces();
    first_error_ = Status();
    exact_only_ = true;
    wide_ = false;
    plan();
    return;
  }
  finish(first_error_);
}

void StoreReadState::finish(const Status& status) {
  StoreRead& read = *read_;
  if (status.ok() && read.ahead_bytes > 0) read_ahead();
  if (status.ok() && !read.fill_only) {
    fill_slices();
  } else {
    drop_pieces();
  }
  pieces_.clear();
  waits_.clear();
  extents_.clear();
  core_->slab.served(memory_);
  StoreCore& core = *core_;
  const uint64_t value = status.ok() ? read.length_bytes : 0;
  if (std::exchange(read.in_read_now, false)) {
    core.loop.take_back(read.done);
    read.done.status = status;
    read.done.value = value;
  } else {
    core.loop.complete(read.done, status, value);
  }
  home_->put(this);
  core.end_operation();
}

// Once for each chunk that the stream comes to, and where it finds that nobody was ahead of it.
void StoreReadState::read_ahead() {
  const bool comes_to_it = first_block_ == 0;
  if (!core_->want_ahead || !(comes_to_it || missed_)) return;
  core_->want_ahead(*read_);
}

// Neighbouring pieces of one page become one run, cut where stripes end.
void StoreReadState::fill_slices() {
  for (Piece& piece : pieces_) {
    if (piece.wait != nullptr) piece.page = piece.wait->page;
    if (piece.page != nullptr) read_->pages_.push_back(piece.page);
  }
  for (size_t i = 0; i < pieces_.size();) {
    Piece merged = pieces_[i];
    for (++i; i < pieces_.size() && pieces_[i].page == merged.page; ++i) {
      merged.blocks += pieces_[i].blocks;
    }
    const uint32_t end_block = merged.first_block + merged.blocks;
    while (merged.page != nullptr && merged.first_block < end_block) {
      const uint32_t stop =
          read_->uncut ? end_block
                       : merged.first_block / kSliceBlocksMax * kSliceBlocksMax + kSliceBlocksMax;
      merged.blocks = std::min(end_block, stop) - merged.first_block;
      add_slice(merged);
      merged.first_block += merged.blocks;
    }
    if (merged.page == nullptr) add_slice(merged);
  }
}

void StoreReadState::add_slice(const Piece& piece) {
  const uint64_t read_end = uint64_t{read_->offset_bytes} + read_->length_bytes;
  const uint64_t begin =
      std::max<uint64_t>(read_->offset_bytes, uint64_t{piece.first_block} * kBlockBytes);
  const uint64_t end =
      std::min<uint64_t>(read_end, uint64_t{piece.first_block + piece.blocks} * kBlockBytes);
  StoreSlice slice;
  slice.length_bytes = static_cast<uint32_t>(end - begin);
  if (piece.page == nullptr) {
    slice.zeros = true;
    slice.crc = crc32c_zeros(slice.length_bytes);
    read_->slices.push_back(slice);
    return;
  }
  SlabPage& page = *piece.page;
  const uint64_t page_begin = uint64_t{page.first_block()} * kBlockBytes;
  slice.bytes = ConstBytes(page.data() + (begin - page_begin), slice.length_bytes);
  slice.arena = page.slab().shared_arena(page.arena());
  slice.arena_offset = page.arena_offset(page.first_block()) + (begin - page_begin);
  slice.page_generation = page.generation();
  // Whole blocks have their checksum already; only the cut ones are summed up.
  for (uint64_t at = begin; at < end && !read_->uncut;) {
    const auto block = static_cast<uint32_t>(at / kBlockBytes);
    const uint64_t stop = std::min<uint64_t>(end, uint64_t{block + 1} * kBlockBytes);
    const uint64_t length_bytes = stop - at;
    const uint32_t crc = length_bytes == kBlockBytes
                             ? page.crc(block)
                             : crc32c(ConstBytes(page.data() + (at - page_begin), length_bytes));
    slice.crc = at == begin ? crc : crc32c_combine(slice.crc, crc, length_bytes);
    at = stop;
  }
  read_->slices.push_back(slice);
}

}  // namespace gd2fs
