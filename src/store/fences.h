// FenceTable: what this store has been told about inodes: the generation that requests must have,
// and which bytes are gone. Everything here is also durable in each drive's log (and index).
//
// A cut {keep_bytes, floor_version} says: of versions below the floor, every byte from keep_bytes
// on is gone. That of an unlink has no floor: what a start let in whose drives did not know of it
// goes when they meet those that do. It stays until no descriptor that it applies to can be found
// on a drive; the generation stays kRetentionNs, longer than any capability lives.
//
// Thread rule: the store's loop.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "loop/clock.h"
#include "store/log_record.h"

namespace gd2fs {

class FenceTable {
 public:
  static constexpr size_t kInodesMax = 1 << 20;
  static constexpr size_t kCutsPerInodeMax = 64;
  static constexpr uint64_t kRetentionNs = 15 * 60 * kSecond;

  // 0 if the inode was never fenced.
  uint64_t generation_of(uint64_t inode) const;
  // Of the last fence that was recorded; a fence that is not above it changes nothing.
  uint64_t recorded_generation(uint64_t inode) const;
  // The recorded cut of this generation if it has not been carried out yet, else nullptr.
  const FenceRecord* unfinished(uint64_t inode, uint64_t generation) const;
  bool unlinked(uint64_t inode) const;
  bool full() const { return inodes_.size() >= kInodesMax; }
  size_t cuts_of(uint64_t inode) const;
  bool has_cuts(uint64_t inode) const { return cuts_of(inode) != 0; }

  // Requests below `generation` are stale from now on. Before the fence is durable.
  void raise(uint64_t inode, uint64_t generation, uint64_t now_ns);
  // The fence is durable, or was read from a drive. A cut that a later one contains goes.
  void add(const FenceRecord& fence, uint64_t now_ns);
  // The cut has been carried out; what it freed has numbers up to these (one per drive).
  void carried_out(const FenceRecord& fence, const std::vector<uint64_t>& frees);

  // The lowest keep_bytes of cuts that apply to this version; UINT64_MAX if none does.
  uint64_t keep_bytes_for(uint64_t inode, uint64_t version) const;
  // The same within one chunk: 0 .. chunk size.
  uint64_t keep_bytes_in_chunk(const ChunkKey& key, uint8_t chunk_log2, uint64_t version) const;
  std::vector<FenceRecord> cuts(uint64_t inode) const;  // by floor, ascending
  void records(std::vector<FenceRecord>* out) const;    // all, for a log rewrite
  size_t inodes() const { return inodes_.size(); }
  std::vector<uint64_t> inodes_with_cuts() const;

  // Drops what nobody needs any more; `settled[drive]` as SlotMap::settled_frees(). Answers what
  // was dropped.
  std::vector<FenceRecord> forget(uint64_t now_ns, const std::vector<uint64_t>& settled);

 private:
  struct Cut {
    FenceRecord fence;
    bool done = false;
    std::vector<uint64_t> frees;
  };
  struct Inode {
    uint64_t generation = 0;
    uint64_t raised_ns = 0;
    bool unlinked = false;
    bool durable = false;  // at least one record of it is on a drive
    FenceRecord last;      // the record that carries the generation
    std::vector<Cut> cuts;
  };
  std::unordered_map<uint64_t, Inode> inodes_;
};

}  // namespace gd2fs
