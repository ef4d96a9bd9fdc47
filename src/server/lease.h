// Lease: the time-bounded right to serve, by this machine's monotonic clock only.
//
// It runs from the moment the question was *sent*, so that it always ends before the controller,
// which counts from its answer, believes that it has. A process that was stopped and goes on finds
// it over. One loop.
#pragma once

#include "loop/clock.h"

namespace gd2fs::server {

class Lease {
 public:
  explicit Lease(Clock& clock) : clock_(clock) {}
  bool held() const { return clock_.now_ns() < until_ns_; }
  // Only ever extends: an answer that overtook a later one shortens nothing.
  void extend(uint64_t asked_at_ns, uint64_t lease_ns) {
    if (asked_at_ns + lease_ns > until_ns_) until_ns_ = asked_at_ns + lease_ns;
  }
  void give_up() { until_ns_ = 0; }
  uint64_t until_ns() const { return until_ns_; }

 private:
  Clock& clock_;
  uint64_t until_ns_ = 0;
};

}  // namespace gd2fs::server
