// NicCredit: how many bytes one local NIC is asked to take and has not got: one budget for all
// servers together, so that many that answer at once do not drown it (incast). What it sends is no
// part of it. One loop.
#pragma once

#include <cstdint>

#include "base/list.h"

namespace gd2fs::client {

class Link;
struct NicCreditTag;

class NicCredit {
 public:
  // 1.3 ms of a 400 Gb/s NIC.
  static constexpr uint64_t kBytesMax = 64 << 20;

  // Something always may, however big.
  bool allows(uint64_t bytes) const { return used_bytes_ == 0 || used_bytes_ + bytes <= kBytesMax; }
  void take(uint64_t bytes) { used_bytes_ += bytes; }
  uint64_t used_bytes() const { return used_bytes_; }

 private:
  friend class Link;
  uint64_t used_bytes_ = 0;
  List<Link, NicCreditTag> waiting_;  // links that were told no, the first first
};

}  // namespace gd2fs::client
