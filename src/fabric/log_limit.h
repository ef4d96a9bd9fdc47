// LogLimit: lets a few lines a second through, so that a stranger cannot fill the log. One loop.
#pragma once

#include <cstdint>

#include "loop/clock.h"

namespace gd2fs {

class LogLimit {
 public:
  static constexpr uint32_t kLinesPerSecond = 5;

  // True: write the line. *skipped is then how many were not written since the last one.
  bool allow(uint64_t now_ns, uint64_t* skipped) {
    if (now_ns - second_began_ns_ >= kSecond) {
      second_began_ns_ = now_ns;
      lines_ = 0;
    }
    if (lines_ >= kLinesPerSecond) {
      ++skipped_;
      return false;
    }
    ++lines_;
    *skipped = skipped_;
    skipped_ = 0;
    return true;
  }

 private:
  uint64_t second_began_ns_ = 0;
  uint32_t lines_ = 0;
  uint64_t skipped_ = 0;
};

}  // namespace gd2fs
