#include "loop/loop.h"

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <unistd.h>

#include <sys/epoll.h>
#include <sys/eventfd.h>

namespace gd2fs {

uint64_t RealClock::now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * kSecond + static_cast<uint64_t>(now.tv_nsec);
}

uint64_t RealClock::wall_us() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

void Join::done(Loop& loop, const Status& status, uint64_t value) {
  CHECK(pieces_ > 0);
  if (first_error_.ok() && !status.ok()) first_error_ = status;
  value_ += value;
  if (--pieces_ == 0) loop.complete(*then_, first_error_, value_);
}

// A spawned coroutine: the loop owns its frame until it has ended.
struct Loop::Spawned {
  Loop& loop;
  Task<void> outer;
  Completion start;
  Completion ended;

  explicit Spawned(Loop& owner) : loop(owner) {
    start.bind(this, [](void* self, Completion&) {
      static_cast<Spawned*>(self)->outer.handle().resume();
    });
    ended.bind<&Spawned::on_ended>(this);
  }
  static Task<void> run(Spawned* self, Task<void> task) {
    co_await task;
    self->loop.complete(self->ended, Status());
  }
  void on_ended(Completion&) {
    auto& all = loop.spawned_;
    auto found = std::find_if(all.begin(), all.end(), [&](auto& s) { return s.get() == this; });
    CHECK(found != all.end());
    std::swap(*found, all.back());
    all.pop_back();
  }
};

void Timer::cancel() {
  loop_->cancel(*this);
}

Loop::Loop(Clock& clock, Waits waits) : clock_(clock) {
  if (waits == Waits::never) return;
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  CHECK(epoll_fd_ >= 0);
  wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  CHECK(wake_fd_ >= 0);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = &wake_fd_;
  CHECK(epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, wake_fd_, &event) == 0);
}

Loop::~Loop() {
  spawned_.clear();
  for (Mail* mail : {taken_mail_, mail_.load(std::memory_order_acquire)}) {
    while (mail != nullptr) {
      Mail* next = mail->next_;
      if (mail->drop_ != nullptr) mail->drop_(mail->owner_);
      mail = next;
    }
  }
  for (Timer* timer : timers_) {
    timer->heap_index_ = Timer::kNotRunning;
    timer->loop_ = nullptr;
  }
  if (wake_fd_ >= 0) close(wake_fd_);
  if (epoll_fd_ >= 0) close(epoll_fd_);
}

void Loop::complete(Completion& done, Status status, uint64_t value) {
  CHECK(!done.linked());
  done.pending_ = true;
  done.status = std::move(status);
  done.value = value;
  completions_.push_back(done);
}

void Loop::complete_here(Completion& done, Status status) {
  CHECK(!done.linked());
  done.pending_ = false;
  done.status = std::move(status);
  done.value = 0;
  done.run_(done.owner_, done);
}

void Loop::complete_first(Completion& done, Status status, uint64_t value) {
  complete(done, std::move(status), value);
  done.unlink();
  first_.push_back(done);
}

void Loop::complete_after_fds(Completion& done, Status status) {
  complete(done, std::move(status));
  done.unlink();
  after_fds_.push_back(done);
}

void Loop::complete_after_pollers(Completion& done, Status status) {
  complete(done, std::move(status));
  done.unlink();
  after_pollers_.push_back(done);
}

void Loop::start(Timer& timer, uint64_t delay_ns) {
  start_at(timer, now_ns() + delay_ns);
}

void Loop::start_at(Timer& timer, uint64_t deadline_ns) {
  cancel(timer);
  timer.loop_ = this;
  timer.deadline_ns_ = deadline_ns;
  timer.order_ = timer_order_++;
  timer.heap_index_ = timers_.size();
  timers_.push_back(&timer);
  timer_up(timer.heap_index_);
}

void Loop::cancel(Timer& timer) {
  take_back(timer.fired);
  if (!timer.running()) return;
  const size_t index = timer.heap_index_;
  timer_swap(index, timers_.size() - 1);
  timers_.pop_back();
  timer.heap_index_ = Timer::kNotRunning;
  if (index < timers_.size()) {
    timer_up(index);
    timer_down(index);
  }
}

bool Loop::timer_before(size_t a, size_t b) const {
  const Timer& x = *timers_[a];
  const Timer& y = *timers_[b];
  return x.deadline_ns_ != y.deadline_ns_ ? x.deadline_ns_ < y.deadline_ns_ : x.order_ < y.order_;
}

void Loop::timer_swap(size_t a, size_t b) {
  std::swap(timers_[a], timers_[b]);
  timers_[a]->heap_index_ = a;
  timers_[b]->heap_index_ = b;
}

void Loop::timer_up(size_t index) {
  while (index > 0 && timer_before(index, (index - 1) / 2)) {
    timer_swap(index, (index - 1) / 2);
    index = (index - 1) / 2;
  }
}

void Loop::timer_down(size_t index) {
  for (;;) {
    size_t least = index;
    const size_t left = 2 * index + 1;
    if (left < timers_.size() && timer_before(left, least)) least = left;
    if (left + 1 < timers_.size() && timer_before(left + 1, least)) least = left + 1;
    if (least == index) return;
    timer_swap(index, least);
    index = least;
  }
}

uint64_t Loop::next_timer_ns() const {
  return timers_.empty() ? UINT64_MAX : timers_.front()->deadline_ns_;
}

Status Loop::watch(Watch& watch, int fd, uint32_t events) {
  CHECK(epoll_fd_ >= 0 && !watch.watched());
  epoll_event event{};
  event.events = events;
  event.data.ptr = &watch;
  if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) != 0) {
    return Status::from_errno(errno, "epoll_ctl add");
  }
  watch.fd_ = fd;
  watch.events_ = events;
  return {};
}

void Loop::rewatch(Watch& watch, uint32_t events) {
  CHECK(watch.watched());
  if (watch.events_ == events) return;
  epoll_event event{};
  event.events = events;
  event.data.ptr = &watch;
  CHECK(epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, watch.fd_, &event) == 0);
  watch.events_ = events;
}

void Loop::unwatch(Watch& watch) {
  if (!watch.watched()) return;
  CHECK(epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, watch.fd_, nullptr) == 0);
  watch.fd_ = -1;
  for (int i = 0; i < ready_count_; ++i) {
    if (ready_[i].data.ptr == &watch) ready_[i].data.ptr = nullptr;
  }
}

void Loop::spawn(Task<void> task) {
  auto spawned = std::make_unique<Spawned>(*this);
  spawned->outer = Spawned::run(spawned.get(), std::move(task));
  complete(spawned->start, Status());  // the first step runs from the loop, like every other
  spawned_.push_back(std::move(spawned));
}

void Loop::post(Mail& mail) {
  if (mail.posted_.exchange(true, std::memory_order_acq_rel)) return;
  push(mail);
  if (sleeping_.load(std::memory_order_seq_cst)) wake();
}

void Loop::push(Mail& mail) {
  Mail* head = mail_.load(std::memory_order_relaxed);
  do {
    mail.next_ = head;
  } while (!mail_.compare_exchange_weak(head, &mail, std::memory_order_seq_cst));
}

void Loop::take_back(Mail& mail) {
  if (!mail.posted_.load(std::memory_order_acquire)) return;
  mail.posted_.store(false, std::memory_order_release);
  for (Mail** at = &taken_mail_; *at != nullptr; at = &(*at)->next_) {
    if (*at != &mail) continue;
    *at = std::exchange(mail.next_, nullptr);
    return;
  }
  // The others go back, in their order.
  Mail* stack = mail_.exchange(nullptr, std::memory_order_acq_rel);
  Mail* others = nullptr;
  while (stack != nullptr) {
    Mail* const next = std::exchange(stack->next_, others);
    if (stack == &mail) {
      mail.next_ = nullptr;
    } else {
      others = stack;
    }
    stack = next;
  }
  while (others != nullptr) push(*std::exchange(others, others->next_));
}

void Loop::wake() {
  woken_.store(true, std::memory_order_seq_cst);
  // One writer is enough for one sleep.
  if (sleeping_.exchange(false, std::memory_order_seq_cst) && wake_fd_ >= 0) {
    const uint64_t one = 1;
    [[maybe_unused]] ssize_t written = write(wake_fd_, &one, sizeof one);
  }
  if (wake_run_ != nullptr && !driven()) wake_run_(wake_owner_);
}

namespace {
// A posted function: heap-allocated mail that deletes itself after it ran.
struct FunctionMail {
  Mail mail;
  std::move_only_function<void()> job;
  void run() {
    std::unique_ptr<FunctionMail> self(this);
    job();
  }
};
}  // namespace

void Loop::post(std::move_only_function<void()> job) {
  auto mail = std::make_unique<FunctionMail>();
  mail->job = std::move(job);
  mail->mail.bind<&FunctionMail::run>(mail.get());
  mail->mail.drop_ = [](void* self) { delete static_cast<FunctionMail*>(self); };
  post(mail.release()->mail);
}

void Loop::stop() {
  stopping_.store(true, std::memory_order_release);
  wake();
}

const void* Loop::this_thread() {
  static thread_local char address;
  return &address;
}

Loop::Drive Loop::try_drive() {
  const void* nobody = nullptr;
  if (driver_.load(std::memory_order_relaxed) != nullptr ||
      !driver_.compare_exchange_strong(nobody, this_thread(), std::memory_order_seq_cst)) {
    return Drive();
  }
  sleeping_.store(false, std::memory_order_relaxed);
  return Drive(this);
}

void Loop::Drive::release() {
  if (loop_ == nullptr) return;
  Loop& loop = *std::exchange(loop_, nullptr);
  loop.sleeping_.store(true, std::memory_order_seq_cst);
  loop.driver_.store(nullptr, std::memory_order_seq_cst);
}

}  // namespace gd2fs
