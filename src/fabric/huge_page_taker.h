// HugePageTaker: gives staging memory that is written much its huge pages, on a thread of its own,
// because the system may look for each of them for long. Both sides copy through that memory: in
// pages of 4 KiB the two copies cost a tenth more CPU. What cannot be had stays in small pages.
//
// Thread rule: from one thread.
#pragma once

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
  void take(std::shared_ptr<const SharedMapping> memory, size_t page);

 private:
  struct Wanted {
    std::shared_ptr<const SharedMapping> memory;
    size_t page = 0;
  };
  bool start();
  void run();

  std::thread thread_;
  std::mutex mutex_;  // of everything below
  std::condition_variable changed_;
  std::deque<Wanted> wanted_;
  bool given_up_ = false;  // the system has no such pages, or no thread
  bool stopping_ = false;
};

}  // namespace gd2fs
