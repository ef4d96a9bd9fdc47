#include "fabric/huge_page_taker.h"

#include <cerrno>
#include <csignal>
#include <pthread.h>
#include <system_error>
#include <utility>

#include <sys/resource.h>

#include "base/huge_map.h"

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

void HugePageTaker::take(std::shared_ptr<const SharedMapping> memory, size_t page) {
  {
    const std::lock_guard lock(mutex_);
    if (given_up_ || (!thread_.joinable() && !start())) return;
    wanted_.push_back({std::move(memory), page});
  }
  changed_.notify_one();
}

// With all signals blocked: they are for the program's own threads.
bool HugePageTaker::start() {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    thread_ = std::thread([this] { run(); });
    pthread_setname_np(thread_.native_handle(), "gd2fs-pages");
  } catch (const std::system_error&) {
    given_up_ = true;  // at the limit of threads
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return !given_up_;
}

void HugePageTaker::run() {
  constexpr int kNice = 10;             // requests go first
  setpriority(PRIO_PROCESS, 0, kNice);  // on Linux the thread's own
  std::unique_lock lock(mutex_);
  while (!stopping_ && !given_up_) {
    if (wanted_.empty()) {
      changed_.wait(lock);
      continue;
    }
    int error = 0;
    {
      const Wanted next = std::move(wanted_.front());
      wanted_.pop_front();
      lock.unlock();
      if (next.memory.use_count() > 1) {
        error = take_huge_page(next.memory->data() + next.page * kHugePageBytes);
      }
    }  // it lets go of the memory without the lock
    lock.lock();
    // Other errors: none is at hand, or a GPU has pinned the memory; that page stays small.
    given_up_ = error == EINVAL;
  }
  wanted_.clear();
}

}  // namespace gd2fs
