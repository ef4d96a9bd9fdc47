#include "store/fences.h"

#include <algorithm>

namespace gd2fs {

uint64_t FenceTable::generation_of(uint64_t inode) const {
  const auto found = inodes_.find(inode);
  return found == inodes_.end() ? 0 : found->second.generation;
}

uint64_t FenceTable::recorded_generation(uint64_t inode) const {
  const auto found = inodes_.find(inode);
  return found == inodes_.end() || !found->second.durable ? 0 : found->second.last.generation;
}

const FenceRecord* FenceTable::unfinished(uint64_t inode, uint64_t generation) const {
  const auto found = inodes_.find(inode);
  if (found == inodes_.end()) return nullptr;
  for (const Cut& cut : found->second.cuts) {
    if (!cut.done && cut.fence.generation == generation) return &cut.fence;
  }
  return nullptr;
}

bool FenceTable::unlinked(uint64_t inode) const {
  const auto found = inodes_.find(inode);
  return found != inodes_.end() && found->second.unlinked;
}

size_t FenceTable::cuts_of(uint64_t inode) const {
  const auto found = inodes_.find(inode);
  return found == inodes_.end() ? 0 : found->second.cuts.size();
}

void FenceTable::raise(uint64_t inode, uint64_t generation, uint64_t now_ns) {
  Inode& known = inodes_[inode];
  known.generation = std::max(known.generation, generation);
  known.raised_ns = now_ns;
}

void FenceTable::add(const FenceRecord& fence, uint64_t now_ns) {
  raise(fence.inode, fence.generation, now_ns);
  Inode& known = inodes_[fence.inode];
  known.unlinked = known.unlinked || fence.unlinked;
  if (!known.durable || fence.floor_version >= known.last.floor_version) known.last = fence;
  known.durable = true;
  if (fence.keep_bytes == UINT64_MAX) return;
  for (const Cut& cut : known.cuts) {
    if (cut.fence == fence) return;  // the same one from another drive
  }
  // A cut that was carried out stays: its frees are still to be settled. One more is no harm.
  std::erase_if(known.cuts, [&](const Cut& cut) {
    return !cut.done && cut.fence.floor_version <= fence.floor_version &&
           cut.fence.keep_bytes >= fence.keep_bytes;
  });
  known.cuts.push_back({.fence = fence, .done = false, .frees = {}});
  std::sort(known.cuts.begin(), known.cuts.end(), [](const Cut& a, const Cut& b) {
    return a.fence.floor_version < b.fence.floor_version;
  });
}

void FenceTable::carried_out(const FenceRecord& fence, const std::vector<uint64_t>& frees) {
  const auto found = inodes_.find(fence.inode);
  if (found == inodes_.end()) return;
  for (Cut& cut : found->second.cuts) {
    if (cut.fence.floor_version > fence.floor_version) continue;
    cut.done = cut.done || cut.fence == fence;
    cut.frees = frees;
  }
}

uint64_t FenceTable::keep_bytes_for(uint64_t inode, uint64_t version) const {
  uint64_t keep_bytes = UINT64_MAX;
  const auto found = inodes_.find(inode);
  if (found == inodes_.end()) return keep_bytes;
  for (const Cut& cut : found->second.cuts) {
    if (cut.fence.unlinked || version < cut.fence.floor_version) {
      keep_bytes = std::min(keep_bytes, cut.fence.keep_bytes);
    }
  }
  return keep_bytes;
}

uint64_t FenceTable::keep_bytes_in_chunk(const ChunkKey& key, uint8_t chunk_log2,
                                         uint64_t version) const {
  const uint64_t chunk_at = uint64_t{key.chunk} << chunk_log2;
  const uint64_t keep_bytes = keep_bytes_for(key.inode, version);
  return keep_bytes <= chunk_at ? 0 : std::min(keep_bytes - chunk_at, uint64_t{1} << chunk_log2);
}

std::vector<FenceRecord> FenceTable::cuts(uint64_t inode) const {
  std::vector<FenceRecord> cuts;
  const auto found = inodes_.find(inode);
  if (found == inodes_.end()) return cuts;
  for (const Cut& cut : found->second.cuts) cuts.push_back(cut.fence);
  return cuts;
}

std::vector<uint64_t> FenceTable::inodes_with_cuts() const {
  std::vector<uint64_t> inodes;
  for (const auto& [inode, known] : inodes_) {
    if (!known.cuts.empty()) inodes.push_back(inode);
  }
  std::sort(inodes.begin(), inodes.end());
  return inodes;
}

void FenceTable::records(std::vector<FenceRecord>* out) const {
  for (const auto& [inode, known] : inodes_) {
    if (!known.durable) continue;
    bool has_last = false;
    for (const Cut& cut : known.cuts) {
      out->push_back(cut.fence);
      has_last = has_last || cut.fence == known.last;
    }
    if (!has_last) out->push_back(known.last);
  }
}

std::vector<FenceRecord> FenceTable::forget(uint64_t now_ns, const std::vector<uint64_t>& settled) {
  std::vector<FenceRecord> forgotten;
  const auto is_settled = [&](const Cut& cut) {
    if (!cut.done || cut.frees.size() > settled.size()) return false;
    for (size_t i = 0; i < cut.frees.size(); ++i) {
      if (settled[i] < cut.frees[i]) return false;
    }
    return true;
  };
  for (auto at = inodes_.begin(); at != inodes_.end();) {
    Inode& known = at->second;
    std::erase_if(known.cuts, [&](const Cut& cut) {
      if (!is_settled(cut)) return false;
      if (cut.fence != known.last) forgotten.push_back(cut.fence);
      return true;
    });
    if (known.cuts.empty() && now_ns - known.raised_ns >= kRetentionNs) {
      if (known.durable) forgotten.push_back(known.last);
      at = inodes_.erase(at);
    } else {
      ++at;
    }
  }
  return forgotten;
}

}  // namespace gd2fs
