#include "store/slab.h"

#include <algorithm>

#include "base/check.h"
#include "base/log.h"

namespace gd2fs {
namespace {

static_assert(kGenerationUnitBytes == kBlockBytes);

// S3-FIFO may evict this many times the wanted blocks, in search of a free run, before the slab
// clears a neighbourhood instead.
constexpr uint32_t kEvictFactor = 2;

// First free run of `blocks` units in [begin, end) of the arena; UINT32_MAX if there is none.
uint32_t find_run(const std::vector<SlabPage*>& owner, const auto& blocks_of_page, uint32_t begin,
                  uint32_t end, uint32_t blocks) {
  uint32_t run = 0;
  for (uint32_t unit = begin; unit < end;) {
    if (owner[unit] != nullptr) {
      unit = blocks_of_page(*owner[unit]);
      run = 0;
      continue;
    }
    ++unit;
    if (++run == blocks) return unit - blocks;
  }
  return UINT32_MAX;
}

}  // namespace

Slab::Slab(Loop& loop, std::unique_ptr<ArenaSource> source, uint64_t slab_bytes,
           uint64_t arena_bytes)
    : loop_(loop), source_(std::move(source)) {
  slab_bytes = std::max<uint64_t>(align_down(slab_bytes, kBlockBytes), kBlockBytes);
  arena_bytes_ =
      std::clamp<uint64_t>(align_down(arena_bytes, kBlockBytes), kBlockBytes, slab_bytes);
  arenas_max_ = static_cast<uint32_t>(slab_bytes / arena_bytes_);
  source_->prepare(arena_bytes_, arenas_max_);
  wait_timer_.bind<&Slab::on_wait_timer>(this);
}

Slab::~Slab() {
  source_->prepare(arena_bytes_, 0);
  for (Arena& arena : arenas_) {
    SlabPage* last = nullptr;
    for (SlabPage* page : arena.owner) {
      if (page != nullptr && page != last) delete page;
      if (page != nullptr) last = page;
    }
    arena.shared.reset();
    source_->destroy(arena.memory);
  }
}

SlabPage* Slab::make_page(Arena& arena, uint32_t index, uint32_t first_unit, uint32_t blocks) {
  auto* const page = new SlabPage();
  page->slab_ = this;
  page->data_ = arena.memory.data + uint64_t{first_unit} * kBlockBytes;
  page->arena_ = index;
  page->first_unit_ = first_unit;
  page->blocks_ = blocks;
  page->generation_ = next_generation_++;
  page->crcs_.resize(blocks);
  tell_generation(arena, *page, page->generation_);
  std::fill_n(arena.owner.begin() + first_unit, blocks, page);
  arena.free_blocks -= blocks;
  arena.cursor = first_unit + blocks;
  used_blocks_ += blocks;
  taken_blocks_ += blocks;
  pools_[arena.cluster].used_at = taken_blocks_;
  ++pages_;
  hold(*page);
  return page;
}

// Next fit: goes on where the last one ended, so that pages taken in file order lie side by side.
SlabPage* Slab::place_in(Arena& arena, uint32_t index, uint32_t blocks) {
  if (arena.free_blocks < blocks) return nullptr;
  const auto units = static_cast<uint32_t>(arena.owner.size());
  const auto page_end = [](const SlabPage& page) { return page.first_unit_ + page.blocks_; };
  uint32_t unit = find_run(arena.owner, page_end, arena.cursor, units, blocks);
  if (unit == UINT32_MAX) {
    const uint32_t end = std::min(arena.cursor + blocks, units);
    unit = find_run(arena.owner, page_end, 0, end, blocks);
  }
  return unit == UINT32_MAX ? nullptr : make_page(arena, index, unit, blocks);
}

SlabPage* Slab::place_at(uint16_t cluster, uint32_t index, uint32_t unit, uint32_t blocks) {
  Arena& arena = arenas_[index];
  if (!arena.owned || arena.cluster != cluster || unit + blocks > arena.owner.size()) {
    return nullptr;
  }
  for (uint32_t i = unit; i < unit + blocks; ++i) {
    if (arena.owner[i] != nullptr) return nullptr;
  }
  const uint32_t cursor = arena.cursor;
  SlabPage* const page = make_page(arena, index, unit, blocks);
  arena.cursor = std::max(cursor, arena.cursor);
  return page;
}

SlabPage* Slab::place(Pool& pool, uint32_t blocks) {
  for (const uint32_t index : pool.arenas) {
    SlabPage* const page = place_in(arenas_[index], index, blocks);
    if (page != nullptr) return page;
  }
  return nullptr;
}

bool Slab::give_arena(uint16_t cluster) {
  uint32_t index = 0;
  while (index < arenas_.size() && arenas_[index].owned) ++index;
  if (index >= arenas_max_) return false;
  if (index == arenas_.size()) arenas_.emplace_back();
  Arena& arena = arenas_[index];
  Result<ArenaSource::Arena> memory = source_->make(arena_bytes_);
  if (!memory) {
    GD2FS_LOG_ERROR("slab: no memory for arena {}: {}", index, memory.error().to_string());
    return false;
  }
  arena.memory = *memory;
  arena.owned = true;
  arena.cluster = cluster;
  share(arena);
  arena.owner.assign(arena_bytes_ / kBlockBytes, nullptr);
  arena.free_blocks = static_cast<uint32_t>(arena.owner.size());
  arena.cursor = 0;
  pools_[cluster].arenas.push_back(index);
  return true;
}

void Slab::share(Arena& arena) {
  arena.shared.reset();
  if (arena.memory.fd < 0 || arena.memory.generations == nullptr) return;
  arena.shared = std::make_shared<SharedArena>();
  arena.shared->id = ++last_shared_id_;
  arena.shared->cluster = arena.cluster;
  arena.shared->fd = arena.memory.fd;
  arena.shared->generations_fd = arena.memory.generations_fd;
  arena.shared->length_bytes = arena.memory.length_bytes;
}

void Slab::tell_generation(Arena& arena, const SlabPage& page, uint64_t generation) {
  if (arena.memory.generations == nullptr) return;
  set_generation(arena.memory.generations, page.first_unit_, page.blocks_, generation);
}

void Slab::enqueue(SlabPage& page) {
  Pool& pool = pool_of(page);
  const bool room = pinned_bytes() + uint64_t{page.blocks_} * kBlockBytes <= pinned_max_bytes();
  if (!room || !is_pinned(page.key_.inode)) {
    pool.queue.insert(page);
    return;
  }
  page.pinned_ = true;
  pinned_blocks_ += page.blocks_;
  pool.pinned.push_back(page);
}

void Slab::unqueue(SlabPage& page) {
  if (!page.pinned_) {
    pool_of(page).queue.remove(page);
    return;
  }
  page.pinned_ = false;
  pinned_blocks_ -= page.blocks_;
  page.unlink();
}

void Slab::set_pinned(uint64_t inode, bool pinned) {
  if (pinned ? !pinned_inodes_.insert(inode).second : pinned_inodes_.erase(inode) == 0) return;
  for (const ChunkKey& key : map_.chunks_of(inode)) {
    for (const PageSegment& segment : *map_.find(key)) {
      unqueue(*segment.page);
      enqueue(*segment.page);
    }
  }
}

void Slab::set_dirty(SlabPage& page, bool dirty) {
  if (page.dirty_ == dirty) return;
  page.dirty_ = dirty;
  if (dirty) {
    dirty_blocks_ += page.blocks_;
  } else {
    dirty_blocks_ -= page.blocks_;
    wake_waits();
  }
}

void Slab::evict_page(SlabPage& page) {
  unqueue(page);
  map_.hide_page(page);
  release(page);
}

// Out of the queues. A pinned page only when the pool has no other.
SlabPage* Slab::victim(Pool& pool, bool pinned_too) {
  if (!pool.queue.empty() || !pinned_too) return pool.queue.victim();
  for (SlabPage* page = pool.pinned.front(); page != nullptr; page = pool.pinned.next(*page)) {
    if (page->held()) continue;
    unqueue(*page);
    return page;
  }
  return nullptr;
}

SlabPage* Slab::evict_and_place(Pool& pool, uint32_t blocks, For use) {
  // Who wants a single block can cut no further.
  const bool may_cut = use != For::write && blocks > 1;
  for (uint32_t evicted = 0; evicted < blocks * kEvictFactor;) {
    SlabPage* const gone = victim(pool, !may_cut);
    if (gone == nullptr) break;
    const uint32_t index = gone->arena_;
    evicted += gone->blocks_;
    map_.hide_page(*gone);
    release(*gone);
    SlabPage* const page = place_in(arenas_[index], index, blocks);
    if (page != nullptr) return page;
  }
  for (const bool pinned_too : {false, true}) {
    if (pinned_too && may_cut) break;
    for (const uint32_t index : pool.arenas) {
      if (!clear_neighbourhood(arenas_[index], blocks, pinned_too)) continue;
      SlabPage* const page = place_in(arenas_[index], index, blocks);
      CHECK(page != nullptr);
      return page;
    }
  }
  return nullptr;
}

// Evicts every page of the first window of `blocks` units, from the cursor on, that nobody holds.
bool Slab::clear_neighbourhood(Arena& arena, uint32_t blocks, bool pinned_too) {
  const auto units = static_cast<uint32_t>(arena.owner.size());
  if (blocks > units) return false;
  const auto stays = [pinned_too](const SlabPage& page) {
    return page.held() || (page.pinned() && !pinned_too);
  };
  const auto window_at = [&](uint32_t begin, uint32_t end) {
    uint32_t start = begin;
    for (uint32_t unit = begin; unit < end;) {
      SlabPage* const page = arena.owner[unit];
      unit = page == nullptr ? unit + 1 : page->first_unit_ + page->blocks_;
      if (page != nullptr && stays(*page)) start = unit;
      if (unit - start >= blocks) return start;
    }
    return UINT32_MAX;
  };
  const uint32_t cursor = arena.cursor < units ? arena.cursor : 0;
  uint32_t start = window_at(cursor, units);
  if (start == UINT32_MAX) start = window_at(0, units);
  if (start == UINT32_MAX) return false;
  for (uint32_t unit = start; unit < start + blocks; ++unit) {
    SlabPage* const page = arena.owner[unit];
    if (page != nullptr) evict_page(*page);
  }
  arena.cursor = start;
  return true;
}

SlabPage* Slab::find_memory(uint16_t cluster, uint32_t blocks, For use) {
  Pool& pool = pools_[cluster];
  SlabPage* page = place(pool, blocks);
  if (page == nullptr && give_arena(cluster)) page = place(pool, blocks);
  if (page == nullptr && take_fair_share(cluster)) page = place(pool, blocks);
  if (page == nullptr) page = evict_and_place(pool, blocks, use);
  for (const bool pinned_too : {false, true}) {
    if (page != nullptr || !pool.arenas.empty()) break;
    if (steal_arena(cluster, pinned_too)) page = place(pool, blocks);
  }
  return page;
}

// Behind the page before it in the file, or where a run can begin.
SlabPage* Slab::take_in_run(const ChunkKey& key, uint32_t first_block, uint32_t blocks) {
  const uint16_t cluster = cluster_of_inode(key.inode);
  PageRuns::Run* run = runs_.find(key, first_block);
  SlabPage* page = nullptr;
  if (run != nullptr && run->next_unit + blocks <= run->end_unit) {
    page = place_at(cluster, run->arena, run->next_unit, blocks);
  }
  const bool goes_on = page != nullptr;
  if (!goes_on) page = find_memory(cluster, blocks, For::stream);
  if (page == nullptr) return nullptr;
  PageRuns::Run now = goes_on ? *run : PageRuns::Run{.arena = page->arena_};
  now.key = key;
  now.next_block = first_block + blocks;
  now.next_unit = page->first_unit_ + blocks;
  if (!goes_on) {
    Arena& arena = arenas_[page->arena_];
    const auto units = static_cast<uint32_t>(arena.owner.size());
    const uint32_t limit = std::min(units, page->first_unit_ + PageRuns::kRunBlocks);
    now.end_unit = now.next_unit;
    while (now.end_unit < limit && arena.owner[now.end_unit] == nullptr) ++now.end_unit;
    arena.cursor = now.end_unit;
  }
  if (run != nullptr) {
    *run = now;
  } else {
    runs_.add(now);
  }
  return page;
}

SlabPage* Slab::take(const ChunkKey& key, uint32_t first_block, uint32_t blocks, For use) {
  CHECK(blocks > 0);
  if (!fits(blocks) || pages_ >= kPagesMax) return nullptr;
  SlabPage* const page = use == For::stream ? take_in_run(key, first_block, blocks)
                                            : find_memory(cluster_of_inode(key.inode), blocks, use);
  if (page == nullptr) return nullptr;
  page->key_ = key;
  page->first_block_ = first_block;
  return page;
}

void Slab::release(SlabPage& page) {
  CHECK(page.holds_ == 0 && page.segments_ == 0 && !page.linked());
  set_dirty(page, false);
  Arena& arena = arenas_[page.arena_];
  tell_generation(arena, page, 0);
  std::fill_n(arena.owner.begin() + page.first_unit_, page.blocks_, nullptr);
  arena.free_blocks += page.blocks_;
  used_blocks_ -= page.blocks_;
  --pages_;
  delete &page;
}

void Slab::unhold(SlabPage& page) {
  CHECK(page.holds_ > 0);
  if (--page.holds_ != 0) return;
  --held_pages_;
  if (page.segments_ == 0) {
    unqueue(page);
    release(page);
  }
  wake_waits();
}

void Slab::release_unused(std::vector<SlabPage*>& pages) {
  for (SlabPage* page : pages) {
    if (page->segments_ != 0) continue;
    unqueue(*page);
    if (page->holds_ == 0) release(*page);
  }
  if (!pages.empty()) wake_waits();
}

void Slab::show(SlabPage& page, uint32_t first_block, uint32_t blocks) {
  std::vector<SlabPage*> unused;
  map_.show(page, first_block, blocks, &unused);
  if (!page.linked()) enqueue(page);
  release_unused(unused);
}

void Slab::hide(const ChunkKey& key, uint32_t first_block, uint32_t blocks) {
  std::vector<SlabPage*> unused;
  map_.hide(key, first_block, blocks, &unused);
  release_unused(unused);
}

uint32_t Slab::resident_blocks(const ChunkKey& key, uint32_t first_block, uint32_t blocks) const {
  const PageMap::Segments* const segments = map_.find(key);
  if (segments == nullptr) return 0;
  uint32_t resident = 0;
  for (const PageSegment& segment : *segments) {
    const uint32_t begin = std::max(segment.first_block, first_block);
    const uint32_t end = std::min(segment.end_block(), first_block + blocks);
    if (begin < end) resident += end - begin;
  }
  return resident;
}

void Slab::used(SlabPage& page) {
  Pool& pool = pool_of(page);
  pool.used_at = taken_blocks_;
  pool.queue.used(page);
}

void Slab::evict(uint64_t inode) {
  for (const ChunkKey& key : map_.chunks_of(inode)) {
    std::vector<SlabPage*> pages;
    for (const PageSegment& segment : *map_.find(key)) pages.push_back(segment.page);
    std::sort(pages.begin(), pages.end());
    pages.erase(std::unique(pages.begin(), pages.end()), pages.end());
    for (SlabPage* page : pages) {
      if (!page->held()) evict_page(*page);
    }
  }
  wake_waits();
}

void Slab::wait(SlabWait& wait) {
  wait.done.start();
  if (wait.state == SlabWait::State::woken) {
    wait.state = SlabWait::State::queued;
    waking_ = false;
    waits_.push_front(wait);
  } else {
    if (waits_count_ >= kWaitsMax) {
      loop_.complete(wait.done, Status(StatusCode::busy, "slab: waits_max reached"));
      return;
    }
    wait.state = SlabWait::State::queued;
    wait.deadline_ns = loop_.now_ns() + kWaitNs;
    waits_.push_back(wait);
    ++waits_count_;
  }
  if (!wait_timer_.running()) loop_.start_at(wait_timer_, wait.deadline_ns);
}

void Slab::served(SlabWait& wait) {
  if (wait.state == SlabWait::State::idle) return;
  CHECK(wait.state == SlabWait::State::woken);
  wait.state = SlabWait::State::idle;
  --waits_count_;
  waking_ = false;
  wake_waits();
}

// One at a time, in order: who was woken either takes memory or goes back to the front.
void Slab::wake_waits() {
  if (waking_) return;
  SlabWait* const wait = waits_.pop_front();
  if (wait == nullptr) return;
  waking_ = true;
  wait->state = SlabWait::State::woken;
  loop_.complete(wait->done, Status());
}

void Slab::on_wait_timer(Completion&) {
  const uint64_t now_ns = loop_.now_ns();
  while (SlabWait* const wait = waits_.front()) {
    if (wait->deadline_ns > now_ns) {
      loop_.start_at(wait_timer_, wait->deadline_ns);
      return;
    }
    waits_.pop_front();
    wait->state = SlabWait::State::idle;
    --waits_count_;
    loop_.complete(wait->done, Status(StatusCode::busy, "slab: all pages are in use"));
  }
}

}  // namespace gd2fs
