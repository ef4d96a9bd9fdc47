// S3Fifo: which published page goes first. Three queues (Yang, Zhang, Qiu, Yue, Rashmi: "FIFO
// queues are all you need for cache eviction", SOSP 2023): new pages enter a small queue of a tenth
// of the space; those that are used again move on to the main queue; those that are not leave, and
// only their names stay a while in the ghost queue: a page that comes back from there enters main.
// The ghosts' pages are together as big as what is cached, so that a scan of a file bigger than the
// slab finds none of its own. So one scan of a file does not flush what is hot.
// Thread rule: the store's loop.
#pragma once

#include <cstdint>
#include <deque>
#include <unordered_map>

#include "store/page.h"

namespace gd2fs {

class S3Fifo {
 public:
  static constexpr size_t kGhostsMax = 1 << 15;

  void insert(SlabPage& page);
  void used(SlabPage& page) {
    if (page.uses_ < 3) ++page.uses_;
  }
  void remove(SlabPage& page);  // left by another way than eviction
  // The page to evict now, taken out of the queues; nullptr if all that were looked at are held.
  SlabPage* victim();
  bool empty() const { return small_.empty() && main_.empty(); }

 private:
  static uint64_t name_of(const SlabPage& page);
  SlabPage* victim_of_small();
  SlabPage* victim_of_main();
  void remember(const SlabPage& page);
  void forget_oldest();

  List<SlabPage> small_;
  List<SlabPage> main_;
  uint64_t small_blocks_ = 0;
  uint64_t main_blocks_ = 0;
  struct Ghost {
    uint64_t name = 0;
    uint32_t blocks = 0;
  };
  std::deque<Ghost> ghosts_;  // oldest first
  uint64_t ghost_blocks_ = 0;
  std::unordered_map<uint64_t, uint32_t> ghost_count_;
};

}  // namespace gd2fs
