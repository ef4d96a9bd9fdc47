// Pins: which files the controller wants kept in memory, as it said last. Its word comes with every
// capability, and when somebody pins or unpins; the newer one holds, so that an old capability that
// is shown late changes nothing. Files whose size was told may have so much of the slab together
// and no more. Lives in memory: after a restart capabilities bring it back. Thread rule: the
// store's loop.
#pragma once

#include <unordered_map>

#include "store/slab.h"

namespace gd2fs {

class Pins {
 public:
  static constexpr size_t kPinsMax = 4096;  // files that are, or lately were, pinned

  explicit Pins(Slab& slab) : slab_(slab) {}
  // no_space: the pinned files would be over the slab's share; busy: kPinsMax reached. Older words
  // than the last are ok and do nothing.
  Status pin(const StorePin& pin);
  void forget(uint64_t inode);  // it is gone

 private:
  struct Word {
    bool pinned = false;
    uint64_t stamp_us = 0;
    uint64_t size_bytes = 0;
  };
  bool make_room();

  Slab& slab_;
  std::unordered_map<uint64_t, Word> words_;
  uint64_t size_bytes_ = 0;  // of those pinned
};

}  // namespace gd2fs
