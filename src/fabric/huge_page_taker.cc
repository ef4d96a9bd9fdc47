#include "fabric/huge_page_taker.h"

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include <sys/resource.h>

#include "base/huge_map.h"
#include "base/quiet_thread.h"

namespace gd2fs {

static_assert(kStagingBytes % kHugePageBytes == 0);

HugePageTaker::~HugePageTaker() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void HugePageTaker::take(const std::shared_ptr<const SharedMapping>& memory, size_t page) {
  {
    const std::lock_guard lock(mutex_);
    if (given_up_ || (!thread_.joinable() && !start())) return;
    wanted_.push_back({memory, page, 0, {}});
  }
  changed_.notify_one();
}

bool HugePageTaker::start() {
  try {
    thread_ = start_quiet_thread("gd2fs-pages", [this] { run(); });
  } catch (const std::system_error&) {
    given_up_ = true;  // at the limit of threads
  }
  return !given_up_;
}

void HugePageTaker::run() {
  constexpr int kNice = 10;             // requests go first
  setpriority(PRIO_PROCESS, 0, kNice);  // on Linux the thread's own
  std::unique_lock lock(mutex_);
  while (!stopping_ && !given_up_) {
    const auto next = std::ranges::min_element(wanted_, {}, &Wanted::not_before);
    if (next == wanted_.end()) {
      changed_.wait(lock);
    } else if (next->not_before > Clock::now()) {
      changed_.wait_until(lock, next->not_before);
    } else {
      Wanted wanted = std::move(*next);
      wanted_.erase(next);
      lock.unlock();
      const bool again = try_to_take(wanted);
      lock.lock();
      if (again) wanted_.push_back(std::move(wanted));
    }
  }
  wanted_.clear();
}

// False: it is done with.
bool HugePageTaker::try_to_take(Wanted& wanted) {
  const auto memory = wanted.memory.lock();
  if (memory == nullptr) return false;
  const int error = take_huge_page(memory->data() + wanted.page * kHugePageBytes);
  if (error == 0) return false;
  refusals_.fetch_add(1, std::memory_order_relaxed);
  if (error == EINVAL) {
    const std::lock_guard lock(mutex_);
    given_up_ = true;
  }
  if (error == EINVAL || wanted.pauses == kPausesMax) return false;
  wanted.not_before = Clock::now() + kPause * (1U << wanted.pauses++);
  return true;
}

}  // namespace gd2fs
