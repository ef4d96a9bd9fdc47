// OptimisticTransaction: one transaction on an OptimisticStore: what it read, what it will write.
// See optimistic_store.h for the rules.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "meta/optimistic_store.h"

namespace gd2fs {

class OptimisticTransaction final : public MetaTransaction {
 public:
  // A read raced by commits is read again so many times before it counts as a conflict.
  static constexpr int kRereadsMax = 16;

  explicit OptimisticTransaction(OptimisticStore& store);
  ~OptimisticTransaction() override;

  Task<Result<std::vector<std::optional<std::string>>>> get_many(
      std::vector<std::string> keys) override;
  Task<Result<std::vector<KeyValue>>> scan(std::string begin, std::string end,
                                           size_t limit) override;
  void put(std::string_view key, std::string_view value) override;
  void remove(std::string_view key) override;
  void drop_writes() override;
  void answer_when_decided() override { answer_when_decided_ = true; }
  Task<Status> commit() override;
  bool conflicted() const override { return conflicted_; }

 private:
  friend class OptimisticStore;
  using Writes = std::map<std::string, std::optional<std::string>, std::less<>>;

  Status conflict();
  Status check_limits() const;
  void write(std::string_view key, std::optional<std::string> value);
  // Fetches until the answer is the newest and fits the snapshot.
  Task<Status> fetch(MetaRead* read);
  // Has what `read` asked for changed since the revision?
  bool changed_since(uint64_t revision, const MetaRead& read) const;
  // Has anything read so far?
  bool reads_changed_since(uint64_t revision) const;
  bool reads_meet(const std::set<std::string_view>& keys) const;
  void move_snapshot(uint64_t revision);
  std::vector<KeyValue> merge_own(const std::vector<KeyValue>& found, std::string_view begin,
                                  std::string_view end, size_t limit) const;

  OptimisticStore& store_;
  uint64_t snapshot_;
  Writes writes_;
  size_t write_bytes_ = 0;
  std::set<std::string, std::less<>> keys_read_;
  std::vector<std::pair<std::string, std::string>> ranges_read_;
  bool conflicted_ = false;
  bool key_too_long_ = false;
  bool committed_ = false;
  bool answer_when_decided_ = false;
};

}  // namespace gd2fs
