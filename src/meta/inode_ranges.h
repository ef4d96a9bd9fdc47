// InodeRanges: inode numbers that nobody has used. A range is taken from the cluster's counter in a
// transaction of its own and handed out from memory, so that creates do not meet at the counter.
// What is left of a range at a restart is lost: a number is never handed out twice.
// Thread rule: the Namespace's loop.
#pragma once

#include <cstdint>
#include <map>

#include "base/list.h"
#include "loop/loop.h"
#include "loop/task.h"
#include "meta/meta_store.h"

namespace gd2fs {

inline constexpr uint64_t kInodeNumberMax = (uint64_t{1} << 48) - 1;  // within a cluster
inline constexpr uint64_t kRootNumber = 1;

inline uint64_t inode_of(uint16_t cluster, uint64_t number) {
  return static_cast<uint64_t>(cluster) << 48 | number;
}
inline uint64_t root_inode(uint16_t cluster) {
  return inode_of(cluster, kRootNumber);
}

class InodeRanges {
 public:
  static constexpr uint64_t kRangeInodes = 4096;
  InodeRanges(Loop& loop, MetaStore& store) : loop_(loop), store_(store) {}

  // A whole inode. no_space when the cluster's numbers are used up.
  Task<Result<uint64_t>> take(uint16_t cluster);
  // An inode above all that were handed out, and not above any that will be.
  Task<Result<uint64_t>> end(uint16_t cluster);

 private:
  struct Range {
    uint64_t next = 0;
    uint64_t end = 0;
    bool refilling = false;
  };
  struct Waiter : ListNode<> {
    Await refilled;
  };
  Task<Status> refill(uint16_t cluster);

  Loop& loop_;
  MetaStore& store_;
  std::map<uint16_t, Range> ranges_;
  List<Waiter> waiters_;  // of any cluster; each looks again
};

}  // namespace gd2fs
