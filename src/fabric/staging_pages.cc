#include "fabric/staging_pages.h"

#include <cerrno>
#include <pthread.h>

#include "base/huge_map.h"

namespace gd2fs {

static_assert(kStagingBytes % kHugePageBytes == 0);

StagingPages::~StagingPages() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
}

void StagingPages::take(const SharedMapping& staging) {
  if (thread_.joinable()) return;
  thread_ = std::thread([this, begin = staging.data(), length_bytes = staging.length_bytes()] {
    run(begin, length_bytes);
  });
  pthread_setname_np(thread_.native_handle(), "gd2fs-staging");
}

void StagingPages::run(std::byte* begin, size_t length_bytes) const {
  for (size_t at = 0; at < length_bytes && !stopping_; at += kHugePageBytes) {
    // What cannot be had stays in small pages.
    if (take_huge_page(begin + at) == EINVAL) return;
  }
}

}  // namespace gd2fs
