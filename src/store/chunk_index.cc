#include "store/chunk_index.h"

#include "base/check.h"
#include "base/random.h"
#include "store/format.h"

namespace gd2fs {
namespace {

constexpr uint32_t kSpilledBit = 1u << 31;
constexpr uint32_t kBlocksShift = 10;
constexpr uint32_t kLog2Shift = 21;
constexpr uint32_t kDriveShift = 25;

uint32_t pack(const Extent& extent, uint8_t chunk_log2) {
  return uint32_t{extent.first_block} | (uint32_t{extent.blocks} << kBlocksShift) |
         (uint32_t{static_cast<uint8_t>(chunk_log2 - kChunkLog2Min)} << kLog2Shift) |
         (uint32_t{extent.at.drive} << kDriveShift);
}

}  // namespace

uint32_t ChunkIndex::shard_of(uint64_t inode) {
  return static_cast<uint32_t>(mix64(inode) >> 52);
}
static_assert(ChunkIndex::kShards == 1u << (64 - 52));

size_t ChunkIndex::home_of(const ChunkKey& key, size_t capacity) {
  const uint64_t hash = mix64(mix64(key.inode) + key.chunk);
  return static_cast<size_t>(((hash & UINT32_MAX) * capacity) >> 32);
}

ChunkKey ChunkIndex::key_of(const Entry& entry) {
  return {.inode = (uint64_t{entry.inode_high} << 32) | entry.inode_low, .chunk = entry.chunk};
}

ChunkIndex::Entry* ChunkIndex::find_entry(Shard& shard, const ChunkKey& key) {
  const size_t capacity = shard.entries.size();
  if (capacity == 0) return nullptr;
  size_t at = home_of(key, capacity);
  while (is_used(shard.entries[at])) {
    if (key_of(shard.entries[at]) == key) return &shard.entries[at];
    if (++at == capacity) at = 0;
  }
  return nullptr;
}

// 7/8 full at most, and a quarter more at each step: 28 bytes * 8/7 * 5/4 = 40 at the worst.
void ChunkIndex::grow(Shard& shard) {
  const size_t capacity = shard.entries.size();
  std::vector<Entry> old = std::move(shard.entries);
  shard.entries = std::vector<Entry>(capacity + capacity / 4 + 4);
  for (const Entry& entry : old) {
    if (!is_used(entry)) continue;
    size_t at = home_of(key_of(entry), shard.entries.size());
    while (is_used(shard.entries[at])) {
      if (++at == shard.entries.size()) at = 0;
    }
    shard.entries[at] = entry;
  }
}

ChunkIndex::Entry& ChunkIndex::insert_entry(Shard& shard, const ChunkKey& key) {
  if ((shard.used + 1) * 8 > shard.entries.size() * 7) grow(shard);
  size_t at = home_of(key, shard.entries.size());
  while (is_used(shard.entries[at])) {
    if (++at == shard.entries.size()) at = 0;
  }
  Entry& entry = shard.entries[at];
  entry.inode_low = static_cast<uint32_t>(key.inode);
  entry.inode_high = static_cast<uint32_t>(key.inode >> 32);
  entry.chunk = key.chunk;
  ++shard.used;
  return entry;
}

// Linear probing without tombstones: pulls back whoever may now sit nearer to its home.
void ChunkIndex::erase_entry(Shard& shard, Entry& entry) {
  const size_t capacity = shard.entries.size();
  size_t hole = static_cast<size_t>(&entry - shard.entries.data());
  size_t at = hole;
  for (;;) {
    if (++at == capacity) at = 0;
    if (!is_used(shard.entries[at])) break;
    const size_t home = home_of(key_of(shard.entries[at]), capacity);
    const bool reachable = hole <= at ? (home <= hole || home > at) : (home <= hole && home > at);
    if (!reachable) continue;
    shard.entries[hole] = shard.entries[at];
    hole = at;
  }
  shard.entries[hole] = Entry();
  --shard.used;
}

bool ChunkIndex::find(const ChunkKey& key, View* view) {
  const Entry* entry = find_entry(shards_[shard_of(key.inode)], key);
  if (entry == nullptr) return false;
  view->chunk_log2 = static_cast<uint8_t>(((entry->packed >> kLog2Shift) & 0xF) + kChunkLog2Min);
  if (is_spilled(*entry)) {
    view->extents = spills_[entry->place];
    return true;
  }
  single_.version = (uint64_t{entry->version_high} << 32) | entry->version_low;
  single_.at = {.drive = static_cast<uint16_t>((entry->packed >> kDriveShift) & 0x3F),
                .file = static_cast<uint16_t>(entry->place >> 16),
                .slot = static_cast<uint16_t>(entry->place)};
  single_.first_block = static_cast<uint16_t>(entry->packed & 0x3FF);
  single_.blocks = static_cast<uint16_t>((entry->packed >> kBlocksShift) & 0x7FF);
  view->extents = std::span(&single_, 1);
  return true;
}

void ChunkIndex::set(const ChunkKey& key, uint8_t chunk_log2, std::span<const Extent> extents) {
  CHECK(extents.size() <= kExtentsHardMax);
  Shard& shard = shards_[shard_of(key.inode)];
  Entry* entry = find_entry(shard, key);
  // The new extents may be a view of the old ones.
  std::vector<Extent> copy(extents.begin(), extents.end());
  if (entry != nullptr) {
    extents_ -= is_spilled(*entry) ? spills_[entry->place].size() : 1;
    if (is_spilled(*entry)) {
      std::vector<Extent>().swap(spills_[entry->place]);
      free_spills_.push_back(entry->place);
    }
    if (copy.empty()) {
      erase_entry(shard, *entry);
      --chunks_;
      return;
    }
  } else {
    if (copy.empty()) return;
    entry = &insert_entry(shard, key);
    ++chunks_;
  }
  extents_ += copy.size();
  const Extent& first = copy.front();
  entry->packed = pack(first, chunk_log2);
  if (copy.size() == 1) {
    entry->place = (uint32_t{first.at.file} << 16) | first.at.slot;
    entry->version_low = static_cast<uint32_t>(first.version);
    entry->version_high = static_cast<uint32_t>(first.version >> 32);
    return;
  }
  if (free_spills_.empty()) {
    free_spills_.push_back(static_cast<uint32_t>(spills_.size()));
    spills_.emplace_back();
  }
  entry->place = free_spills_.back();
  free_spills_.pop_back();
  entry->packed |= kSpilledBit;
  copy.shrink_to_fit();
  spills_[entry->place] = std::move(copy);
}

void ChunkIndex::remove_drive(uint16_t drive) {
  std::vector<ChunkKey> keys;
  for (uint32_t shard = 0; shard < kShards; ++shard) {
    keys.clear();
    keys_of_shard(shard, &keys);
    for (const ChunkKey& key : keys) {
      View view;
      if (!find(key, &view)) continue;
      std::vector<Extent> kept(view.extents.begin(), view.extents.end());
      const size_t before = kept.size();
      std::erase_if(kept, [&](const Extent& extent) { return extent.at.drive == drive; });
      if (kept.size() != before) set(key, view.chunk_log2, kept);
    }
  }
}

size_t ChunkIndex::memory_bytes() const {
  size_t bytes = shards_.size() * sizeof(Shard);
  for (const Shard& shard : shards_) bytes += shard.entries.capacity() * sizeof(Entry);
  bytes += spills_.capacity() * sizeof(decltype(spills_)::value_type) +
           free_spills_.capacity() * sizeof(uint32_t);
  for (const auto& spill : spills_) bytes += spill.capacity() * sizeof(Extent);
  return bytes;
}

void ChunkIndex::chunks_of(uint64_t inode, std::vector<ChunkKey>* out) const {
  for (const Entry& entry : shards_[shard_of(inode)].entries) {
    if (is_used(entry) && key_of(entry).inode == inode) out->push_back(key_of(entry));
  }
}

void ChunkIndex::keys_of_shard(uint32_t shard, std::vector<ChunkKey>* out) const {
  for (const Entry& entry : shards_[shard].entries) {
    if (is_used(entry)) out->push_back(key_of(entry));
  }
}

}  // namespace gd2fs
