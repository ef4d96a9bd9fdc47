#include "cli/bench/raw_memory.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>

#include "base/crc32c.h"
#include "cli/bench/samples.h"

namespace gd2fs {
namespace {

using Work = void (*)(ConstBytes from, Bytes to);

void copy(ConstBytes from, Bytes to) {
  std::memcpy(to.data(), from.data(), from.size());
}

// Block by block, while it is in the cache.
void copy_and_checksum(ConstBytes from, Bytes to) {
  constexpr size_t kBlock = 4096;
  uint32_t all = 0;
  for (size_t at = 0; at < from.size(); at += kBlock) {
    const size_t part = std::min(kBlock, from.size() - at);
    std::memcpy(to.data() + at, from.data() + at, part);
    all ^= crc32c(to.subspan(at, part));
  }
  [[maybe_unused]] volatile const uint32_t used = all;
}

double alone(Work work, ConstBytes from, Bytes to) {
  const double began = seconds_now();
  work(from, to);
  return seconds_now() - began;
}

double in_two(Work work, ConstBytes from, Bytes to) {
  const size_t half = from.size() / 2;
  std::atomic<bool> ready = false;
  std::atomic<bool> go = false;
  std::thread second([&] {
    ready = true;
    while (!go) {
    }
    work(from.subspan(half), to.subspan(half));
  });
  while (!ready) std::this_thread::yield();
  const double began = seconds_now();
  go = true;
  work(from.first(half), to.first(half));
  second.join();
  return seconds_now() - began;
}

}  // namespace

double best_copy(ConstBytes from, Bytes to) {
  return std::min(alone(copy, from, to), in_two(copy, from, to));
}

double best_checked_copy(ConstBytes from, Bytes to) {
  return std::min(alone(copy_and_checksum, from, to), in_two(copy_and_checksum, from, to));
}

}  // namespace gd2fs
