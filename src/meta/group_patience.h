// GroupPatience: whether a group of commits forms at once or waits for others who are about to
// commit too. If it always forms at once, a few clients of which each waits for its commit fall
// into groups of one: each begins while another's group is on its way to the drive, and a sync of
// its own for every commit is the slowest that they can be. So a group waits for those whose
// commits have just been answered and for transactions that have begun, as long as that pays: if
// nobody joins who waits, the next 1, 2, 4 ... 64 groups form at once; and a transaction that was
// waited for in vain is not waited for again.
//
// A client that is alone never waits: when it commits, nobody else is expected.
//
// Thread rule: its owner's.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace gd2fs {

class GroupPatience {
 public:
  static constexpr uint64_t kWaitMaxNs = 1'000'000;
  static constexpr uint32_t kPauseMax = 64;  // groups

  // A group has ended, of which `answered` transactions are answered now; it took so long.
  void ended(size_t answered, uint64_t took_ns, uint64_t now_ns);
  // A transaction wishes to commit: one of those answered is back, as far as can be known.
  void came() { expected_ -= std::min<size_t>(expected_, 1); }
  // `waiting` of the `alive` transactions wish to commit. For how long they should wait for more;
  // 0: not at all.
  uint64_t wait_ns(size_t waiting, size_t alive, uint64_t now_ns);

 private:
  void end_wait(size_t waiting, size_t absent);

  size_t expected_ = 0;    // answered, and not committing anew
  size_t absent_ = 0;      // transactions alive that were waited for in vain
  uint64_t usual_ns_ = 0;  // what a group takes, an average
  uint64_t until_ns_ = 0;  // nobody waits for longer
  size_t waited_ = 0;      // so many did when the wait began; 0: nobody waits
  uint32_t pause_ = 0;     // so many groups form without waiting
  uint32_t next_pause_ = 1;
};

}  // namespace gd2fs
