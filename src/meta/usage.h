// Usage: what a cluster holds, counted exactly and without one hot record. A cluster's counters are
// split over kUsageShards records; a mutation changes one of them in its own transaction. Each
// running mutation of a Namespace borrows a shard number for itself, so that those of one process
// never race for a counter.
//
// Quota without reading all shards each time: every shard is granted a part of it, the parts sum up
// to the quota, and a shard may reserve only within its part; so the sum of what is reserved never
// passes the quota. A shard that has run dry reads all of them, in the same transaction, and deals
// the rest out anew; only if the sum has no room the answer is EDQUOT.
//
// Thread rule: the Namespace's loop.
#pragma once

#include <cstdint>

#include "base/list.h"
#include "base/status.h"
#include "loop/loop.h"
#include "loop/task.h"
#include "meta/meta_store.h"
#include "meta/namespace.h"
#include "meta/records.h"

namespace gd2fs {

inline constexpr uint8_t kUsageShards = 32;

struct UsageDelta {
  int64_t files = 0;
  int64_t directories = 0;
  int64_t size_bytes = 0;
  int64_t reserved_bytes = 0;
};

// Adds delta to the shard's record. EDQUOT if more would be reserved than the quota allows.
Task<Status> charge_usage(MetaTransaction& tx, const Cluster& cluster, uint8_t shard,
                          UsageDelta delta);
// Deals the quota out over all shards, as after a change of policy. Writes kUsageShards records.
Task<Status> deal_quota(MetaTransaction& tx, uint16_t cluster, uint64_t quota_bytes);
Task<Result<ClusterUsage>> read_usage(MetaTransaction& tx, uint16_t cluster);

// The shard numbers not in use.
class UsageShards {
 public:
  UsageShards(Loop& loop, size_t waiting_max) : loop_(loop), waiting_max_(waiting_max) {}

  class Lease {
   public:
    Lease() = default;
    Lease(UsageShards& shards, uint8_t shard) : shards_(&shards), shard_(shard) {}
    Lease(Lease&& other) noexcept
        : shards_(std::exchange(other.shards_, nullptr)), shard_(other.shard_) {}
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
      if (shards_ != nullptr) shards_->give_back(shard_);
    }
    uint8_t shard() const { return shard_; }

   private:
    UsageShards* shards_ = nullptr;
    uint8_t shard_ = 0;
  };
  // Waits for a free one; in order. busy if waiting_max wait already. Free ones are lent in turn:
  // whoever takes one whose last change was answered and is not durable yet loses a race.
  Task<Result<Lease>> borrow();

 private:
  struct Waiter : ListNode<> {
    Await given;
    uint8_t shard = 0;
  };
  void give_back(uint8_t shard);

  Loop& loop_;
  size_t waiting_max_;
  size_t waiting_ = 0;
  uint32_t free_ = UINT32_MAX;  // a bit per shard
  uint8_t next_ = 0;            // where the search for a free one begins
  static_assert(kUsageShards == 32);
  List<Waiter> waiters_;
};

}  // namespace gd2fs
