#include "meta/optimistic_store.h"

#include <algorithm>

#include "base/log.h"
#include "meta/optimistic_transaction.h"

namespace gd2fs {

OptimisticStore::OptimisticStore(Loop& loop, uint64_t first_revision)
    : loop_(loop), revision_(first_revision) {
  gather_.bind<&OptimisticStore::on_gather>(this);
  patience_ends_.bind<&OptimisticStore::on_gather>(this);
}

OptimisticStore::~OptimisticStore() = default;

std::unique_ptr<MetaTransaction> OptimisticStore::begin() {
  return std::make_unique<OptimisticTransaction>(*this);
}

void OptimisticStore::transaction_begins(uint64_t revision) {
  ++alive_;
  snapshot_begins(revision);
}

void OptimisticStore::transaction_ends(uint64_t revision) {
  snapshot_ends(revision);
  --alive_;
  if (patience_ends_.running()) gather();  // it may have been waited for
}

void OptimisticStore::snapshot_ends(uint64_t revision) {
  const auto found = snapshots_.find(revision);
  CHECK(found != snapshots_.end());
  if (--found->second == 0) snapshots_.erase(found);
}

uint64_t OptimisticStore::watch(std::string prefix, std::function<void(uint64_t)> on_change) {
  watchers_.emplace(next_watch_id_, Watcher{std::move(prefix), std::move(on_change)});
  return next_watch_id_++;
}

void OptimisticStore::unwatch(uint64_t watch_id) {
  watchers_.erase(watch_id);
}

void OptimisticStore::enqueue(OptimisticTransaction& transaction, Completion& done) {
  done.start();
  if (waiting_.size() >= kCommitsWaitingMax) {
    loop_.complete(done, Status(StatusCode::busy, "commits_waiting_max reached"));
    return;
  }
  waiting_.push_back({&transaction, &done});
  patience_.came();
  if (!writing_) gather();
}

void OptimisticStore::gather() {
  if (!gather_.pending()) loop_.complete(gather_, Status());
}

void OptimisticStore::on_gather(Completion&) {
  if (writing_) return;
  const bool may_grow = waiting_.size() < kGroupTransactionsMax;
  if (!waiting_.empty() && may_grow && drained_ == nullptr) {
    const uint64_t wait_ns = patience_.wait_ns(waiting_.size(), alive_, loop_.now_ns());
    if (wait_ns > 0) {
      if (!patience_ends_.running()) loop_.start(patience_ends_, wait_ns);
      return;
    }
  }
  loop_.cancel(patience_ends_);
  form_group();
}

void OptimisticStore::form_group() {
  CHECK(group_.empty() && group_writes_.empty() && group_keys_.empty());
  size_t bytes = 0;
  size_t writes = 0;
  for (size_t i = 0; i < std::min(waiting_.size(), kGroupTransactionsMax); ++i) {
    writes += waiting_[i].transaction->writes_.size();
  }
  group_writes_.reserve(writes);  // group_keys_ has views into it
  while (!waiting_.empty() && group_.size() < kGroupTransactionsMax && bytes < kGroupBytesMax) {
    const Waiting next = waiting_.front();
    waiting_.pop_front();
    OptimisticTransaction& transaction = *next.transaction;
    if (transaction.reads_changed_since(transaction.snapshot_) ||
        transaction.reads_meet(group_keys_)) {
      loop_.complete(*next.done, transaction.conflict());
      continue;
    }
    bytes += transaction.write_bytes_;
    group_.push_back({.done = next.done, .writes = transaction.writes_.size()});
    for (auto& [key, value] : transaction.writes_) {
      group_writes_.push_back({key, std::move(value)});
      group_keys_.insert(group_writes_.back().key);
    }
    if (transaction.answer_when_decided_ && last_group_durable_) {
      loop_.complete(*std::exchange(group_.back().done, nullptr), Status());
    }
  }
  if (group_.empty()) {
    end_drain();
    return;
  }
  writing_ = true;
  written_from_ns_ = loop_.now_ns();
  write(group_writes_);
}

void OptimisticStore::write_ended(const Status& status) {
  CHECK(writing_);
  writing_ = false;
  last_group_durable_ = status.ok();
  if (status.ok()) {
    size_t at = 0;
    for (const Grouped& each : group_) {
      ++revision_;
      for (size_t end = at + each.writes; at < end; ++at) {
        window_.add(revision_, group_writes_[at].key);
      }
    }
    written(group_writes_);
  } else if (status.is(StatusCode::unavailable)) {
    window_.forget_all(++revision_);
    outcome_unknown();
  }
  const auto answered =
      std::ranges::count_if(group_, [](const Grouped& each) { return each.done != nullptr; });
  const uint64_t now_ns = loop_.now_ns();
  patience_.ended(static_cast<size_t>(answered), now_ns - written_from_ns_, now_ns);
  answer_group(status);
  window_.forget_until(snapshots_.empty() ? revision_ : snapshots_.begin()->first);
  if (status.ok() && !watchers_.empty()) notify();
  group_.clear();
  group_writes_.clear();
  group_keys_.clear();
  if (waiting_.empty()) {
    end_drain();
  } else {
    gather();  // not at once: those just answered may have something to add in this turn
  }
}

void OptimisticStore::answer_group(const Status& status) {
  size_t answered = 0;
  for (const Grouped& each : group_) {
    if (each.done == nullptr) {
      ++answered;
    } else {
      loop_.complete(*each.done, status);
    }
  }
  if (status.ok() || answered == 0) return;
  GD2FS_LOG_WARN("metadata: {} changes that were answered before they were durable may be lost: {}",
                 answered, status.to_string());
}

void OptimisticStore::notify() {
  std::vector<uint64_t> touched;
  for (const auto& [id, watcher] : watchers_) {
    const auto at = group_keys_.lower_bound(watcher.prefix);
    if (at != group_keys_.end() && at->starts_with(watcher.prefix)) touched.push_back(id);
  }
  for (uint64_t id : touched) {
    const auto found = watchers_.find(id);
    if (found == watchers_.end()) continue;          // unwatched by one before it
    const auto on_change = found->second.on_change;  // may unwatch itself
    on_change(revision_);
  }
}

Task<void> OptimisticStore::drain() {
  CHECK(drained_ == nullptr);
  if (!writing_ && waiting_.empty()) co_return;
  Await empty;
  drained_ = &empty.done();
  if (!writing_) gather();  // the group waits no longer
  [[maybe_unused]] Status status = co_await empty;
}

void OptimisticStore::end_drain() {
  if (drained_ == nullptr || writing_ || !waiting_.empty()) return;
  loop_.complete(*std::exchange(drained_, nullptr), Status());
}

}  // namespace gd2fs
