// StagingPages: huge pages for the staging memory of a client that writes much, taken beside its
// first write. Both sides copy through that memory: in pages of 4 KiB the two copies cost a tenth
// more CPU.
//
// A thread of its own takes them, because the system may look for them for long, and ends. Not
// every client writes, so that nothing is taken when a client comes. Thread rule: from one thread.
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

  // The first call starts the thread. `staging` outlives this object.
  void take(const SharedMapping& staging);

 private:
  void run(std::byte* begin, size_t length_bytes) const;

  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace gd2fs
