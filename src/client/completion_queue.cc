#include "client/completion_queue.h"

#include <cerrno>
#include <unistd.h>

#include <sys/eventfd.h>

namespace gd2fs::client {

CompletionQueue::~CompletionQueue() {
  if (fd_ >= 0) ::close(fd_);
}

void CompletionQueue::push(Finished& finished) {
  std::lock_guard lock(mutex_);
  finished_.push_back(finished);
  signal_locked();
  wake_one_locked();
}

void CompletionQueue::wake_one_locked() {
  // Under the lock: the waiter cannot leave, and its flag not die, before it has the lock too.
  if (Waiter* waiter = waiters_.pop_front()) waiter->flag.set();
}

void CompletionQueue::signal_locked() {
  if (fd_ < 0 || signaled_) return;
  const uint64_t one = 1;
  signaled_ = write(fd_, &one, sizeof one) == sizeof one;
}

void CompletionQueue::unsignal_locked() {
  if (!signaled_) return;
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = read(fd_, &count, sizeof count);
  signaled_ = false;
}

size_t CompletionQueue::take_locked(std::span<Finished*> out) {
  size_t taken = 0;
  while (taken < out.size()) {
    Finished* finished = finished_.pop_front();
    if (finished == nullptr) break;
    out[taken++] = finished;
  }
  if (finished_.empty()) {
    unsignal_locked();
  } else {
    wake_one_locked();  // for what is left
  }
  return taken;
}

size_t CompletionQueue::take(std::span<Finished*> out) {
  std::lock_guard lock(mutex_);
  return take_locked(out);
}

Result<size_t> CompletionQueue::wait(std::span<Finished*> out, uint64_t deadline_ns) {
  if (deadline_ns == 0) {
    if (const size_t taken = take(out); taken > 0) return taken;
    if (!polled_by_fd()) thread_.poll();
    std::lock_guard lock(mutex_);
    if (const size_t taken = take_locked(out); taken > 0) return taken;
    if (closed_) return fail(StatusCode::canceled, "the queue is closed");
    return size_t{0};
  }
  for (;;) {
    Waiter waiter(thread_);
    {
      std::lock_guard lock(mutex_);
      if (const size_t taken = take_locked(out); taken > 0) return taken;
      if (closed_) return fail(StatusCode::canceled, "the queue is closed");
      waiters_.push_back(waiter);
    }
    const LoopThread::Woken woken = thread_.drive_until(waiter.flag, deadline_ns);
    std::lock_guard lock(mutex_);
    waiter.unlink();
    if (const size_t taken = take_locked(out); taken > 0) return taken;
    if (closed_ || woken == LoopThread::Woken::stopped) {
      return fail(StatusCode::canceled, "the queue is closed");
    }
    if (woken == LoopThread::Woken::poisoned) return fail(StatusCode::io, "the ctx is broken");
    if (woken == LoopThread::Woken::deadline) return size_t{0};
  }
}

// Who asked for the descriptor sleeps on it, while nobody drives but the I/O thread: it must not be
// told that a caller drives.
bool CompletionQueue::polled_by_fd() {
  std::lock_guard lock(mutex_);
  return fd_ >= 0;
}

void CompletionQueue::close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
  while (Waiter* waiter = waiters_.pop_front()) waiter->flag.set();
}

Result<int> CompletionQueue::fd() {
  std::lock_guard lock(mutex_);
  if (fd_ < 0) {
    fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd_ < 0) return fail(Status::from_errno(errno, "eventfd"));
    if (!finished_.empty()) signal_locked();
  }
  return fd_;
}

}  // namespace gd2fs::client
