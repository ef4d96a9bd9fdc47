// StagingPages: huge pages for the staging memory of a client that writes much, taken beside its
// writes. Both sides copy through that memory: in pages of 4 KiB the two copies cost a tenth more
// CPU.
//
// A thread of its own takes them, because the system may look for them for long, and ends. Nothing
// is taken that no write has used: not every client writes, or much at once. Thread rule: from one
// thread.
#pragma once

#include <atomic>
#include <thread>

#include "fabric/shm_memory.h"

namespace gd2fs {

class StagingPages {
 public:
  // A client that stages at least so much at once is one that writes much.
  static constexpr uint64_t kFromBytes = 1 * kMiB;

  StagingPages() = default;
  StagingPages(const StagingPages&) = delete;
  StagingPages& operator=(const StagingPages&) = delete;
  ~StagingPages();  // waits for the page that is being taken

  // For the first so many bytes of `staging`, which outlives this object and is always the same.
  void take(const SharedMapping& staging, size_t length_bytes);

 private:
  void run(std::byte* begin);

  std::atomic<size_t> wanted_bytes_ = 0;
  std::atomic<size_t> done_bytes_ = 0;  // taken, or not to be had
  std::atomic<bool> running_ = false;
  std::thread thread_;
};

}  // namespace gd2fs
