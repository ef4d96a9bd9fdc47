#include "fabric/staging_pages.h"

#include <cerrno>
#include <pthread.h>

#include "base/huge_map.h"

namespace gd2fs {

static_assert(kStagingBytes % kHugePageBytes == 0);

StagingPages::~StagingPages() {
  wanted_bytes_ = 0;
  if (thread_.joinable()) thread_.join();
}

void StagingPages::take(const SharedMapping& staging, size_t length_bytes) {
  if (length_bytes > wanted_bytes_) wanted_bytes_ = length_bytes;
  // A thread that is about to end may not see what is wanted now: a later call will find that.
  if (done_bytes_ >= wanted_bytes_ || running_) return;
  if (thread_.joinable()) thread_.join();
  running_ = true;
  thread_ = std::thread([this, begin = staging.data()] { run(begin); });
  pthread_setname_np(thread_.native_handle(), "gd2fs-staging");
}

void StagingPages::run(std::byte* begin) {
  while (done_bytes_ < wanted_bytes_) {
    const int error = take_huge_page(begin + done_bytes_);
    // What cannot be had stays in small pages: all of it, or this part.
    done_bytes_ += error == EINVAL ? kStagingBytes : kHugePageBytes;
  }
  running_ = false;
}

}  // namespace gd2fs
