// Versions: gives every chunk update its version, and knows which are settled.
//
// A version is never given twice: the store epoch above its counter is durable before the first
// version of it is used, and grows at every start. An update is in flight from start() until it is
// committed, or failed and its descriptor wiped; settled() is the last version before the oldest
// one in flight. An update whose outcome is unknown (its drive was set aside) never ends, so that
// settled() stays below it. Thread rule: the store's loop.
#pragma once

#include <set>

#include "store/format.h"

namespace gd2fs {

class Versions {
 public:
  void begin_epoch(uint64_t epoch) { last_ = make_version(epoch, 0); }
  uint64_t epoch() const { return epoch_of_version(last_); }
  uint64_t start() {
    in_flight_.insert(++last_);
    return last_;
  }
  void end(uint64_t version) { in_flight_.erase(version); }
  // A version that no update has: everything before is below it, everything after above.
  uint64_t take_floor() { return ++last_; }
  uint64_t settled() const { return in_flight_.empty() ? last_ : *in_flight_.begin() - 1; }

 private:
  uint64_t last_ = 0;
  std::set<uint64_t> in_flight_;
};

}  // namespace gd2fs
