// ViewTable: the process's views that are out: memory of servers on this host that the application
// looks at. It outlives ctxs and sessions, so that the memory stays mapped while somebody looks.
// Any thread.
#pragma once

#include <algorithm>
#include <mutex>
#include <unistd.h>
#include <unordered_map>
#include <vector>

#include "fabric/fabric.h"

namespace gd2fs::client {

class ViewTable {
 public:
  static constexpr size_t kViewsMax = 65536;
  static ViewTable& instance() {
    static auto* const table = new ViewTable;  // never destroyed: threads may be inside at exit
    return *table;
  }

  // 0: kViewsMax are out.
  uint64_t add(std::vector<LentBytes> bytes) {
    std::lock_guard lock(mutex_);
    if (views_.size() >= kViewsMax) return 0;
    process_ = getpid();
    views_.emplace(++last_, std::move(bytes));
    return last_;
  }
  // ok: the bytes were right until now. stale: perhaps not. invalid: there is no such view. denied:
  // in a child, which does not have its parent's mappings.
  Status put(uint64_t number) {
    std::lock_guard lock(mutex_);
    if (process_ != getpid()) return {StatusCode::denied, "a view of the parent's", EPERM};
    const auto found = views_.find(number);
    if (found == views_.end()) return {StatusCode::invalid, "no such view", EINVAL};
    const bool right = std::ranges::all_of(
        found->second, [](const LentBytes& each) { return each.still_right(); });
    views_.erase(found);
    if (right) return {};
    return {StatusCode::stale, "the server has used the memory for something else", ESTALE};
  }

 private:
  std::mutex mutex_;
  std::unordered_map<uint64_t, std::vector<LentBytes>> views_;
  uint64_t last_ = 0;
  pid_t process_ = getpid();
};

}  // namespace gd2fs::client
