// Sequences: the numbers of a client's mutations at one receiver, and the lowest one still
// unanswered.
//
// A receiver forgets results below `low` and refuses what comes late from there, so a number that
// is given up is refused rather than executed after. Receivers keep a bounded window: at most
// open_max numbers lie between low and the newest; over it take() answers 0 until low moves on.
// Belongs to one loop.
#pragma once

#include <cstdint>
#include <deque>

#include "base/check.h"

namespace gd2fs::client {

class Sequences {
 public:
  static constexpr uint64_t kControllerOpenMax = 256;  // as Namespace::kTagWindow
  static constexpr uint64_t kServerOpenMax = 8192;     // as the store's window per client

  explicit Sequences(uint64_t open_max) : open_max_(open_max) {}

  uint64_t take() {
    if (open_.size() >= open_max_) return 0;
    open_.push_back(true);
    return low_ + open_.size() - 1;
  }
  // Answered, or given up for good. True if low moved on.
  bool end(uint64_t sequence) {
    CHECK(sequence >= low_ && sequence < low_ + open_.size() && open_[sequence - low_]);
    open_[sequence - low_] = false;
    const uint64_t before = low_;
    while (!open_.empty() && !open_.front()) {
      open_.pop_front();
      ++low_;
    }
    return low_ != before;
  }
  uint64_t low() const { return low_; }

 private:
  const uint64_t open_max_;
  uint64_t low_ = 1;
  std::deque<bool> open_;
};

}  // namespace gd2fs::client
