// ChangeWindow: which keys changed at which revision, for the recent past. It answers the one
// question of optimistic transactions: has this key, or anything in this range, changed since
// revision r? It remembers at most keys_max keys; what it has forgotten counts as changed, so a
// transaction that outlives the window is stale, never wrong. One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>

namespace gd2fs {

class ChangeWindow {
 public:
  static constexpr size_t kKeysMax = 65536;
  explicit ChangeWindow(size_t keys_max = kKeysMax) : keys_max_(keys_max) {}

  // Revisions never go down from one call to the next.
  void add(uint64_t revision, std::string_view key);
  bool changed_since(uint64_t revision, std::string_view key) const;
  // Any key in [begin, end).
  bool range_changed_since(uint64_t revision, std::string_view begin, std::string_view end) const;
  // No one will ask about anything before this revision.
  void forget_until(uint64_t revision);
  // Everything may have changed up to this revision.
  void forget_all(uint64_t revision);
  size_t keys() const { return last_.size(); }

 private:
  using Last = std::map<std::string, uint64_t, std::less<>>;
  void forget_oldest();

  size_t keys_max_;
  Last last_;  // key -> revision of its last change
  struct Change {
    uint64_t revision;
    Last::iterator key;
  };
  std::deque<Change> changes_;  // one per key and change; the last one of a key owns its entry
  uint64_t floor_ = 0;          // changes up to here are forgotten
};

}  // namespace gd2fs
