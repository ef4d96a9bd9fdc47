// HugePageTaker: gives staging memory that is written much its huge pages, on a thread of its own,
// because the system may look for each of them for long. Both sides copy through that memory: in
// pages of 4 KiB the two copies cost a tenth more CPU. What cannot be had now (memory is in pieces,
// or somebody holds a small page for a moment) is tried again, less and less often for some
// seconds; then it stays in small pages.
//
// Thread rule: from one thread.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "fabric/shm_memory.h"

namespace gd2fs {

class HugePageTaker {
 public:
  HugePageTaker() = default;
  HugePageTaker(const HugePageTaker&) = delete;
  HugePageTaker& operator=(const HugePageTaker&) = delete;
  ~HugePageTaker();  // waits for the page that is being taken

  // In its time, page number `page` (kHugePageBytes each) of this memory; not if the caller lets go
  // of the memory before. The first call starts the thread.
  void take(const std::shared_ptr<const SharedMapping>& memory, size_t page);
  uint32_t refusals() const { return refusals_.load(std::memory_order_relaxed); }  // any thread

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds kPause{100};  // doubles with each refusal
  static constexpr uint32_t kPausesMax = 7;
  struct Wanted {
    std::weak_ptr<const SharedMapping> memory;
    size_t page = 0;
    uint32_t pauses = 0;
    Clock::time_point not_before;
  };
  bool start();
  void run();
  bool try_to_take(Wanted& wanted);

  std::thread thread_;
  std::atomic<uint32_t> refusals_{0};
  std::mutex mutex_;  // of everything below
  std::condition_variable changed_;
  std::deque<Wanted> wanted_;
  bool given_up_ = false;  // the system has no such pages, or no thread
  bool stopping_ = false;
};

}  // namespace gd2fs
