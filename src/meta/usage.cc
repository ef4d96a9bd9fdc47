#include "meta/usage.h"

#include <bit>
#include <cerrno>
#include <vector>

#include "meta/keys.h"

namespace gd2fs {

namespace {

using Shards = std::vector<UsageRecord>;

Result<UsageRecord> decode_shard(uint16_t cluster, uint8_t shard,
                                 const std::optional<std::string>& value) {
  if (!value) return UsageRecord();
  return UsageRecord::decode(usage_key(cluster, shard), *value);
}

void put_shard(MetaTransaction& tx, uint16_t cluster, uint8_t shard, const UsageRecord& record) {
  const std::string key = usage_key(cluster, shard);
  tx.put(key, record.encode(key));
}

// One range read, so that it counts as one and sees shards that are not there yet.
Task<Result<Shards>> read_shards(MetaTransaction& tx, uint16_t cluster) {
  Shards shards(kUsageShards);
  GD2FS_CO_ASSIGN(auto found,
                  co_await tx.scan(usage_key(cluster, 0), usage_key(cluster, 255), kUsageShards));
  for (const KeyValue& kv : found) {
    GD2FS_CO_ASSIGN(const UsageKey key, parse_usage_key(kv.key));
    if (key.shard >= kUsageShards) co_return fail(StatusCode::corrupt, "usage shard out of range");
    GD2FS_CO_ASSIGN(shards[key.shard], UsageRecord::decode(kv.key, kv.value));
  }
  co_return shards;
}

// Of a shard that may reserve nothing without asking all.
constexpr int64_t kNothingGranted = INT64_MIN / 2;

// Grants every shard what it has reserved plus an equal part of what is left, the remainder to
// `first`: the grants sum up to the quota, and no shard has reserved more than its grant. While
// more is reserved than the quota, there are no such grants: nobody may reserve without asking all.
void deal(Shards& shards, uint64_t quota_bytes, uint8_t first) {
  int64_t left = static_cast<int64_t>(quota_bytes);
  for (const UsageRecord& shard : shards) left -= shard.reserved_bytes;
  const int64_t part = left / kUsageShards;
  for (UsageRecord& shard : shards) {
    shard.granted_bytes = left < 0 ? kNothingGranted : shard.reserved_bytes + part;
  }
  if (left > 0) shards[first].granted_bytes += left - part * kUsageShards;
}

void add(UsageRecord& record, const UsageDelta& delta) {
  record.files += delta.files;
  record.directories += delta.directories;
  record.size_bytes += delta.size_bytes;
  record.reserved_bytes += delta.reserved_bytes;
}

}  // namespace

Task<Status> charge_usage(MetaTransaction& tx, const Cluster& cluster, uint8_t shard,
                          UsageDelta delta) {
  GD2FS_CO_ASSIGN(auto value, co_await tx.get(usage_key(cluster.id, shard)));
  GD2FS_CO_ASSIGN(UsageRecord record, decode_shard(cluster.id, shard, value));
  const uint64_t quota_bytes = cluster.policy.quota_bytes;
  if (quota_bytes == 0 || delta.reserved_bytes <= 0 ||
      record.reserved_bytes + delta.reserved_bytes <= record.granted_bytes) {
    add(record, delta);
    put_shard(tx, cluster.id, shard, record);
    co_return Status();
  }
  GD2FS_CO_ASSIGN(Shards shards, co_await read_shards(tx, cluster.id));
  int64_t reserved_bytes = delta.reserved_bytes;
  for (const UsageRecord& each : shards) reserved_bytes += each.reserved_bytes;
  if (reserved_bytes > static_cast<int64_t>(quota_bytes)) {
    co_return Status(StatusCode::no_space, "quota of cluster " + cluster.name + " is used up",
                     EDQUOT);
  }
  add(shards[shard], delta);
  deal(shards, quota_bytes, shard);
  for (uint8_t i = 0; i < kUsageShards; ++i) put_shard(tx, cluster.id, i, shards[i]);
  co_return Status();
}

Task<Status> deal_quota(MetaTransaction& tx, uint16_t cluster, uint64_t quota_bytes) {
  GD2FS_CO_ASSIGN(Shards shards, co_await read_shards(tx, cluster));
  deal(shards, quota_bytes, 0);
  for (uint8_t i = 0; i < kUsageShards; ++i) put_shard(tx, cluster, i, shards[i]);
  co_return Status();
}

Task<Result<ClusterUsage>> read_usage(MetaTransaction& tx, uint16_t cluster) {
  GD2FS_CO_ASSIGN(const Shards shards, co_await read_shards(tx, cluster));
  UsageRecord sum;
  for (const UsageRecord& shard : shards) {
    add(sum, {shard.files, shard.directories, shard.size_bytes, shard.reserved_bytes});
  }
  if (sum.files < 0 || sum.directories < 0 || sum.size_bytes < 0 || sum.reserved_bytes < 0) {
    co_return fail(StatusCode::corrupt, "usage of a cluster is below zero");
  }
  co_return ClusterUsage{.files = static_cast<uint64_t>(sum.files),
                         .directories = static_cast<uint64_t>(sum.directories),
                         .size_bytes = static_cast<uint64_t>(sum.size_bytes),
                         .reserved_bytes = static_cast<uint64_t>(sum.reserved_bytes)};
}

Task<Result<UsageShards::Lease>> UsageShards::borrow() {
  if (free_ != 0 && waiters_.empty()) {
    const int ahead = std::countr_zero(std::rotr(free_, next_));
    const auto shard = static_cast<uint8_t>((next_ + ahead) % kUsageShards);
    free_ &= ~(uint32_t{1} << shard);
    next_ = static_cast<uint8_t>((shard + 1) % kUsageShards);
    co_return Lease(*this, shard);
  }
  if (waiting_ >= waiting_max_) {
    co_return fail(StatusCode::busy, "too many namespace mutations at once");
  }
  Waiter waiter;
  waiters_.push_back(waiter);
  ++waiting_;
  [[maybe_unused]] Status status = co_await waiter.given;
  --waiting_;
  co_return Lease(*this, waiter.shard);
}

void UsageShards::give_back(uint8_t shard) {
  if (Waiter* next = waiters_.pop_front(); next != nullptr) {
    next->shard = shard;
    loop_.complete(next->given.done(), Status());
    return;
  }
  free_ |= uint32_t{1} << shard;
}

}  // namespace gd2fs
