// WriteBack: the writes that were acknowledged from memory and are on their way to a drive
// (durability memory). Their pages are dirty: they stay in the slab until their bytes are durable.
// How much may be dirty is bounded; over it a write is acknowledged when it is durable, as without
// this. What a drive refused stays readable while its page shows, and every flush says so.
//
// Thread rule: the store's loop.
#pragma once

#include <set>
#include <vector>

#include "store/slab.h"

namespace gd2fs {

class WriteBack {
 public:
  // dirty_max_bytes 0: a quarter of the slab.
  WriteBack(Loop& loop, Slab& slab, uint64_t dirty_max_bytes)
      : loop_(loop),
        slab_(slab),
        dirty_max_bytes_(dirty_max_bytes != 0 ? dirty_max_bytes : slab.capacity_bytes() / 4) {}

  // The page may be acknowledged now: it is dirty from here on, and the number is for end(). 0:
  // too much is dirty.
  uint64_t begin(SlabPage& page);
  // Its bytes are durable, or cannot be made so for the reason given.
  void end(uint64_t number, SlabPage& page, const Status& status);
  // Completes when all that began before has ended: ok, or, while there are bytes that only memory
  // has, no_space or io.
  void flush(Completion& done);

  uint64_t dirty_bytes() const { return slab_.dirty_bytes(); }
  // Dirty, and no longer on their way.
  uint64_t stranded_bytes() const { return slab_.dirty_bytes() - under_way_bytes_; }

 private:
  struct Flush {
    uint64_t number = 0;  // of the last write that it waits for
    Completion* done = nullptr;
  };
  void answer();
  Status outcome() const;

  Loop& loop_;
  Slab& slab_;
  uint64_t dirty_max_bytes_;
  std::set<uint64_t> under_way_;
  uint64_t under_way_bytes_ = 0;
  uint64_t next_number_ = 1;
  Status failure_;  // of the last one that failed
  std::vector<Flush> flushes_;
};

}  // namespace gd2fs
