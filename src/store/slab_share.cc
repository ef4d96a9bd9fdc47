// How arenas go from cluster to cluster: the rest of Slab is in slab.cc.
#include <algorithm>

#include "store/slab.h"

namespace gd2fs {

Slab::Contents Slab::contents_of(const Arena& arena) {
  Contents contents;
  for (uint32_t unit = 0; unit < arena.owner.size() && !contents.held;) {
    const SlabPage* const page = arena.owner[unit];
    unit = page == nullptr ? unit + 1 : page->first_unit_ + page->blocks_;
    if (page == nullptr) continue;
    contents.held = page->held();
    contents.pinned = contents.pinned || page->pinned();
  }
  return contents;
}

void Slab::empty_and_destroy(uint32_t index) {
  Arena& arena = arenas_[index];
  for (uint32_t unit = 0; unit < arena.owner.size(); ++unit) {
    if (arena.owner[unit] != nullptr) evict_page(*arena.owner[unit]);
  }
  std::erase(pools_[arena.cluster].arenas, index);
  arena.shared.reset();
  source_->destroy(arena.memory);
  arena.owned = false;
  steal_after_ns_ = loop_.now_ns() + kStealNs;
}

// For a cluster that has none.
bool Slab::steal_arena(uint16_t cluster, bool pinned_too) {
  for (uint32_t index = 0; index < arenas_.size(); ++index) {
    const Arena& arena = arenas_[index];
    if (!arena.owned || arena.cluster == cluster) continue;
    const Contents contents = contents_of(arena);
    if (contents.held || (contents.pinned && !pinned_too)) continue;
    empty_and_destroy(index);
    return give_arena(cluster);
  }
  return false;
}

bool Slab::is_idle(const Pool& pool) const {
  return taken_blocks_ - pool.used_at > capacity_bytes() / kBlockBytes;
}

// The arena that this cluster can best do without, UINT32_MAX if it needs them all: its oldest that
// nobody holds a page of and that has no pinned one. Beside it one more such arena stays, since
// what is not pinned needs room too.
uint32_t Slab::arena_to_spare(const Pool& pool) const {
  uint32_t spare = UINT32_MAX;
  for (const uint32_t index : pool.arenas) {
    const Contents contents = contents_of(arenas_[index]);
    if (contents.pinned) continue;
    if (spare != UINT32_MAX) return spare;
    if (!contents.held) spare = index;
  }
  return UINT32_MAX;
}

// Who came first has it all; whoever comes later is not to live on a single arena for that.
bool Slab::take_fair_share(uint16_t cluster) {
  Pool& own = pools_[cluster];
  if (own.arenas.empty() || own.arenas.size() == arenas_.size()) return false;
  if (loop_.now_ns() < steal_after_ns_) return false;
  steal_after_ns_ = loop_.now_ns() + kStealNs;
  const auto uses = [&](const Pool& pool) { return !pool.arenas.empty() && !is_idle(pool); };
  size_t clusters = 1;  // this one
  for (const auto& [name, pool] : pools_) clusters += &pool != &own && uses(pool) ? 1 : 0;
  const size_t share = arenas_max_ / clusters;
  if (own.arenas.size() >= share) return false;
  std::vector<const Pool*> rich;
  for (const auto& [name, pool] : pools_) {
    if (&pool != &own && pool.arenas.size() > (uses(pool) ? share : 1)) rich.push_back(&pool);
  }
  std::sort(rich.begin(), rich.end(), [&](const Pool* a, const Pool* b) {
    const bool a_idle = is_idle(*a);
    const bool b_idle = is_idle(*b);
    if (a_idle != b_idle) return a_idle;
    if (a->arenas.size() != b->arenas.size()) return a->arenas.size() > b->arenas.size();
    return a->arenas.front() < b->arenas.front();
  });
  for (const Pool* pool : rich) {
    const uint32_t spare = arena_to_spare(*pool);
    if (spare == UINT32_MAX) continue;
    empty_and_destroy(spare);
    return give_arena(cluster);
  }
  return false;
}

}  // namespace gd2fs
