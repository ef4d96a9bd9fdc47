#include "meta/settles.h"

namespace gd2fs {

void Settles::Waiter::wake() {
  unlink();
  if (!woken.done().pending()) loop->complete(woken.done(), Status());
}

void Settles::Waiter::on_timeout(Completion&) {
  wake();
}

Task<void> Settles::wait(uint64_t timeout_ns) {
  Waiter waiter;
  waiter.loop = &loop_;
  waiter.timeout.bind<&Waiter::on_timeout>(&waiter);
  waiters_.push_back(waiter);
  loop_.start(waiter.timeout, timeout_ns);
  [[maybe_unused]] Status status = co_await waiter.woken;
}

void Settles::wake_all() {
  while (Waiter* waiter = waiters_.pop_front()) waiter->wake();
}

}  // namespace gd2fs
