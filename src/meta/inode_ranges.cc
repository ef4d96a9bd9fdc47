#include "meta/inode_ranges.h"

#include <algorithm>

#include "meta/keys.h"
#include "meta/records.h"

namespace gd2fs {

Task<Result<uint64_t>> InodeRanges::take(uint16_t cluster) {
  for (;;) {
    Range& range = ranges_[cluster];  // map nodes stay where they are
    if (range.next < range.end) co_return inode_of(cluster, range.next++);
    if (range.refilling) {
      Waiter waiter;
      waiters_.push_back(waiter);
      [[maybe_unused]] Status status = co_await waiter.refilled;
      continue;
    }
    range.refilling = true;
    Status status = co_await refill(cluster);
    range.refilling = false;
    while (Waiter* waiter = waiters_.pop_front()) {
      loop_.complete(waiter->refilled.done(), Status());
    }
    if (!status.ok()) co_return fail(status);
  }
}

Task<Result<uint64_t>> InodeRanges::end(uint16_t cluster) {
  Range& range = ranges_[cluster];
  while (range.refilling) {
    Waiter waiter;
    waiters_.push_back(waiter);
    [[maybe_unused]] const Status status = co_await waiter.refilled;
  }
  const std::string key = counter_key(cluster);
  GD2FS_CO_ASSIGN(const auto value, co_await store_.begin()->get(key));
  if (!value) co_return fail(StatusCode::not_found, "no such cluster");
  GD2FS_CO_ASSIGN(const CounterRecord counter, CounterRecord::decode(key, *value));
  if (!range.refilling) range.next = range.end;  // what is left of it would be below
  co_return inode_of(cluster, counter.next);
}

Task<Status> InodeRanges::refill(uint16_t cluster) {
  const std::string key = counter_key(cluster);
  for (;;) {
    auto tx = store_.begin();
    GD2FS_CO_ASSIGN(auto value, co_await tx->get(key));
    if (!value) co_return Status(StatusCode::not_found, "no such cluster");
    GD2FS_CO_ASSIGN(CounterRecord counter, CounterRecord::decode(key, *value));
    const uint64_t begin = counter.next;
    const uint64_t end = std::min(begin + kRangeInodes, kInodeNumberMax + 1);
    if (begin >= end) co_return Status(StatusCode::no_space, "inode numbers of the cluster");
    counter.next = end;
    tx->put(key, counter.encode(key));
    Status status = co_await tx->commit();
    if (tx->conflicted()) continue;
    if (!status.ok()) co_return status;
    ranges_[cluster].next = begin;
    ranges_[cluster].end = end;
    co_return Status();
  }
}

}  // namespace gd2fs
