// Progress: one line on a terminal that says how far a transfer is; nothing where stderr is none.
//
//   put  3/12 files  1.20 GiB of 4.00 GiB  30%  812 MB/s  0:03 left
//
// Workers add() from any thread; one thread calls show() now and then and finish() at the end.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "loop/clock.h"

namespace gd2fs::cli {

class Progress {
 public:
  static constexpr uint64_t kEveryNs = 100 * kMs;
  // files and bytes in all; bytes 0: not known.
  Progress(Clock& clock, bool on_terminal, std::string verb, uint64_t files, uint64_t bytes);

  void add_bytes(uint64_t bytes) { done_bytes_.fetch_add(bytes, std::memory_order_relaxed); }
  void add_file() { done_files_.fetch_add(1, std::memory_order_relaxed); }
  uint64_t done_bytes() const { return done_bytes_.load(std::memory_order_relaxed); }
  uint64_t done_files() const { return done_files_.load(std::memory_order_relaxed); }
  double seconds() const;

  void show();    // at most every kEveryNs
  void finish();  // takes the line away
  // The line as it would be shown now; for the tests.
  std::string line() const;

 private:
  Clock& clock_;
  const bool on_terminal_;
  const std::string verb_;
  const uint64_t files_;
  const uint64_t bytes_;
  const uint64_t began_ns_;
  uint64_t shown_ns_ = 0;
  std::atomic<uint64_t> done_bytes_{0};
  std::atomic<uint64_t> done_files_{0};
};

}  // namespace gd2fs::cli
