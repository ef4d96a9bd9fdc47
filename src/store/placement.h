// Placement: which drive a chunk's extents go to, and which drives may hold what this store cannot
// see now.
//
// All extents of a chunk are on one drive: its home, a fixed function of the chunk and the store's
// drives. When the home is full or set aside a new chunk goes elsewhere; that a home has ever sent
// chunks to another drive is recorded in the logs first ("overflow"), as is that the set of drives
// has changed. So with a drive missing it is still known for most chunks that they cannot be on it:
// their holes are holes, and they can be written. Of a chunk that may be on it nothing is made up.
//
// A home that was set aside when the store stopped does not know where its chunks went then, and
// those that do may be the ones that are missing: it is taken to have overflowed to each of these
// (Recovery). When all drives are here again, the records are made anew from what is seen.
//
// A missing drive that will not come back can be forgotten. What may have been on it stays unknown,
// but is written elsewhere; files that are made after that never had anything there.
//
// Thread rule: the store's loop.
#pragma once

#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "store/log_record.h"

namespace gd2fs {

class Placement {
 public:
  // By uuid, in no order; `present` is false for a drive that could not be opened.
  struct Member {
    DriveUuid uuid;
    bool present = false;
    uint16_t drive = 0;  // its position in the store, if present
    bool incomplete = false;
    bool forgotten() const { return forgotten_below != 0; }
    uint64_t forgotten_below = 0;      // all versions were below, when it was given up
    std::vector<uint64_t> inode_ends;  // of each cluster there was: the first inode made later
  };
  void set_members(std::vector<Member> members);
  void set_incomplete(uint16_t drive);
  void add_overflow(uint64_t home_tag, uint64_t to_tag) { overflows_.emplace(home_tag, to_tag); }
  void set_scattered() { scattered_ = true; }
  // A missing member will not come back. False if there is none of this uuid.
  bool forget(const DriveUuid& uuid, uint64_t below, std::vector<uint64_t> inode_ends);
  // All chunks are seen, and only these overflows: nothing else is remembered, but for what may be
  // on drives that are forgotten.
  void set_overflows(std::set<std::pair<uint64_t, uint64_t>> seen);

  size_t missing() const { return missing_; }
  bool anything_missing() const { return missing_ != 0; }
  bool anything_elsewhere() const { return scattered_ || !overflows_.empty(); }
  bool anything_incomplete() const { return incomplete_ != 0; }
  bool anything_forgotten() const { return forgotten_ != 0; }
  const std::vector<Member>& members() const { return members_; }  // by uuid
  // The drive of the store where the chunk belongs, or nothing if that is missing or forgotten.
  static constexpr uint16_t kMissing = UINT16_MAX;
  uint16_t home(const ChunkKey& key) const;
  uint64_t home_tag(const ChunkKey& key) const { return home_member(key).uuid.tag(); }
  // Whether a missing drive that may come back may hold this chunk.
  bool may_be_missing(const ChunkKey& key) const;
  // Whether a hole of the chunk may be a loss: it may be on a drive that is missing or forgotten or
  // has lost descriptors. `on`: the drive of its extents, kMissing if it has none; `oldest_version`
  // of them.
  bool hole_is_unknown(const ChunkKey& key, uint16_t on, uint64_t oldest_version) const;

  // The record that must be durable before a chunk with this home goes to that drive; false if it
  // is known already.
  bool needs_overflow(const ChunkKey& key, uint16_t to, LogRecord* record) const;
  void records(std::vector<LogRecord>* out) const;

 private:
  const Member& home_member(const ChunkKey& key) const;
  bool may_hold(const Member& member, const ChunkKey& key) const;
  void count();

  std::vector<Member> members_;  // by uuid
  size_t missing_ = 0;
  size_t incomplete_ = 0;
  size_t forgotten_ = 0;
  std::set<std::pair<uint64_t, uint64_t>> overflows_;  // tags of (home, elsewhere)
  bool scattered_ = false;  // chunks may be anywhere: the set of drives has changed
};

}  // namespace gd2fs
