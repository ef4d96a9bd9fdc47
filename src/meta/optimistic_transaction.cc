#include "meta/optimistic_transaction.h"

#include <algorithm>

namespace gd2fs {

Task<Result<std::optional<std::string>>> MetaTransaction::get(std::string key) {
  std::vector<std::string> keys;
  keys.push_back(std::move(key));
  auto values = co_await get_many(std::move(keys));
  if (!values) co_return fail(values.error());
  co_return std::move(values->front());
}

OptimisticTransaction::OptimisticTransaction(OptimisticStore& store)
    : store_(store), snapshot_(store.revision_) {
  store_.transaction_begins(snapshot_);
}

OptimisticTransaction::~OptimisticTransaction() {
  store_.transaction_ends(snapshot_);
}

Status OptimisticTransaction::conflict() {
  conflicted_ = true;
  return {StatusCode::stale, "metadata changed during the transaction"};
}

void OptimisticTransaction::move_snapshot(uint64_t revision) {
  store_.snapshot_begins(revision);
  store_.snapshot_ends(snapshot_);
  snapshot_ = revision;
}

bool OptimisticTransaction::changed_since(uint64_t revision, const MetaRead& read) const {
  const ChangeWindow& window = store_.window_;
  if (read.limit == 0) {
    return std::any_of(read.keys.begin(), read.keys.end(),
                       [&](const std::string& key) { return window.changed_since(revision, key); });
  }
  // A full page says nothing of what lies behind its last key.
  if (read.found.size() < read.limit) {
    return window.range_changed_since(revision, read.begin, read.end);
  }
  return window.range_changed_since(revision, read.begin, read.found.back().key + '\0');
}

bool OptimisticTransaction::reads_changed_since(uint64_t revision) const {
  const ChangeWindow& window = store_.window_;
  return std::any_of(keys_read_.begin(), keys_read_.end(),
                     [&](const std::string& key) { return window.changed_since(revision, key); }) ||
         std::any_of(ranges_read_.begin(), ranges_read_.end(), [&](const auto& range) {
           return window.range_changed_since(revision, range.first, range.second);
         });
}

bool OptimisticTransaction::reads_meet(const std::set<std::string_view>& keys) const {
  if (keys.empty()) return false;
  return std::any_of(keys_read_.begin(), keys_read_.end(),
                     [&](const std::string& key) { return keys.contains(key); }) ||
         std::any_of(ranges_read_.begin(), ranges_read_.end(), [&](const auto& range) {
           const auto at = keys.lower_bound(range.first);
           return at != keys.end() && *at < range.second;
         });
}

Task<Status> OptimisticTransaction::fetch(MetaRead* read) {
  for (int i = 0; i <= kRereadsMax; ++i) {
    if (!store_.read_now(*read)) {
      Await answer;
      store_.read(*read, answer.done());
      Status status = co_await answer;
      if (!status.ok()) co_return status;
    }
    if (changed_since(read->revision, *read)) continue;  // commits overtook the answer
    if (!changed_since(snapshot_, *read)) co_return Status();
    if (reads_changed_since(snapshot_)) co_return conflict();
    move_snapshot(store_.revision_);
    co_return Status();
  }
  co_return conflict();
}

Task<Result<std::vector<std::optional<std::string>>>> OptimisticTransaction::get_many(
    std::vector<std::string> keys) {
  CHECK(!committed_);
  if (conflicted_) co_return fail(conflict());
  MetaRead read;
  for (const std::string& key : keys) {
    if (key.size() > kKeyMaxBytes) co_return fail(StatusCode::invalid, "metadata key too long");
    if (!writes_.contains(key)) read.keys.push_back(key);
  }
  if (!read.keys.empty()) {
    Status status = co_await fetch(&read);
    if (!status.ok()) co_return fail(status);
    keys_read_.insert(read.keys.begin(), read.keys.end());
  }
  std::vector<std::optional<std::string>> values;
  values.reserve(keys.size());
  size_t fetched = 0;
  for (const std::string& key : keys) {
    if (const auto own = writes_.find(key); own != writes_.end()) {
      values.push_back(own->second);
    } else {
      values.push_back(std::move(read.values[fetched++]));
    }
  }
  co_return values;
}

std::vector<KeyValue> OptimisticTransaction::merge_own(const std::vector<KeyValue>& found,
                                                       std::string_view begin, std::string_view end,
                                                       size_t limit) const {
  std::vector<KeyValue> merged;
  auto theirs = found.begin();
  auto own = writes_.lower_bound(begin);
  const auto own_end = writes_.lower_bound(end);
  while (merged.size() < limit && (theirs != found.end() || own != own_end)) {
    if (own == own_end || (theirs != found.end() && theirs->key < own->first)) {
      merged.push_back(*theirs++);
      continue;
    }
    if (theirs != found.end() && theirs->key == own->first) ++theirs;
    if (own->second) merged.push_back({own->first, *own->second});
    ++own;
  }
  return merged;
}

Task<Result<std::vector<KeyValue>>> OptimisticTransaction::scan(std::string begin, std::string end,
                                                                size_t limit) {
  CHECK(!committed_);
  if (conflicted_) co_return fail(conflict());
  if (limit == 0 || limit > kScanMax) co_return fail(StatusCode::invalid, "scan limit");
  if (end <= begin) co_return std::vector<KeyValue>();
  MetaRead read;
  // What this transaction removed is cut out afterwards and must not shorten the answer.
  read.limit = limit + static_cast<size_t>(
                           std::count_if(writes_.lower_bound(begin), writes_.lower_bound(end),
                                         [](const auto& own) { return !own.second.has_value(); }));
  read.begin = begin;
  read.end = end;
  Status status = co_await fetch(&read);
  if (!status.ok()) co_return fail(status);
  std::vector<KeyValue> merged = merge_own(read.found, begin, end, limit);
  if (merged.size() == limit) end = merged.back().key + '\0';
  ranges_read_.emplace_back(std::move(begin), std::move(end));
  co_return merged;
}

void OptimisticTransaction::write(std::string_view key, std::optional<std::string> value) {
  CHECK(!committed_);
  key_too_long_ = key_too_long_ || key.size() > kKeyMaxBytes;
  auto [at, fresh] = writes_.try_emplace(std::string(key));
  if (!fresh) write_bytes_ -= key.size() + (at->second ? at->second->size() : 0);
  write_bytes_ += key.size() + (value ? value->size() : 0);
  at->second = std::move(value);
}

void OptimisticTransaction::put(std::string_view key, std::string_view value) {
  write(key, std::string(value));
}

void OptimisticTransaction::remove(std::string_view key) {
  write(key, std::nullopt);
}

void OptimisticTransaction::drop_writes() {
  writes_.clear();
  write_bytes_ = 0;
  key_too_long_ = false;
}

Status OptimisticTransaction::check_limits() const {
  if (key_too_long_) return {StatusCode::invalid, "metadata key too long"};
  if (writes_.size() > kWritesMax) return {StatusCode::invalid, "too many writes in a transaction"};
  if (keys_read_.size() + ranges_read_.size() > kReadsMax) {
    return {StatusCode::invalid, "too many reads in a transaction"};
  }
  if (write_bytes_ > kBytesMax) return {StatusCode::invalid, "too many bytes in a transaction"};
  return {};
}

Task<Status> OptimisticTransaction::commit() {
  CHECK(!committed_);
  committed_ = true;
  if (conflicted_) co_return conflict();
  if (Status status = check_limits(); !status.ok()) co_return status;
  if (writes_.empty()) co_return Status();  // what it read is of one instant already
  Await end;
  store_.enqueue(*this, end.done());
  Status status = co_await end;
  co_return status;
}

}  // namespace gd2fs
