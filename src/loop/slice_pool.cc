#include "loop/slice_pool.h"

#include <algorithm>
#include <sched.h>
#include <system_error>
#include <utility>

#include "base/leave_core.h"
#include "base/log.h"
#include "base/quiet_thread.h"

namespace gd2fs {

SlicePool::SlicePool(Loop& loop, const char* name, uint32_t helpers_max, uint64_t look_ns)
    : loop_(loop), name_(name), helpers_max_(helpers_max), look_ns_(look_ns) {
  turn_.bind<&SlicePool::on_turn>(this);
  made_mail_.bind<&SlicePool::on_made>(this);
  expected_.bind<&SlicePool::on_expected>(this);
  left_.bind<&SlicePool::on_left>(this);
}

SlicePool::~SlicePool() {
  drop_all();
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wanted_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
  for (Mail* mail : {&turn_, &made_mail_, &expected_}) loop_.take_back(*mail);
}

void SliceJob::leave() {
  if (pool_ != nullptr) pool_->wait(*this);
}

void SlicePool::submit(SliceJob& job) {
  CHECK(job.pool_ == nullptr);
  job.pool_ = this;
  jobs_.push_back(job);
  {
    std::lock_guard lock(mutex_);
    job.state_ = SliceJob::State::queued;
    job.begun_bytes_ = 0;
    (job.alone ? alone_ : queue_).push_back(job);
    if (!job.alone) queued_bytes_ += job.length_bytes;
    // Those who look for work take a slice each without being woken.
    if (!job.alone && queued_bytes_ >= kHelpFromBytes + looking_ * kSliceBytes) wake_helper();
  }
  loop_.post(turn_);
}

void SlicePool::expect(uint64_t length_bytes) {
  if (look_ns_ == 0) return;
  expected_bytes_ += length_bytes;
  loop_.post(expected_);
}

// From the next turn: the wake-ups take 10 us, and what makes others begin goes out first.
void SlicePool::on_expected() {
  const uint64_t wanted = std::exchange(expected_bytes_, 0) / kExpectedEach + 1;
  std::lock_guard lock(mutex_);
  if (asleep_ == 0) return;
  waker_core_ = sched_getcpu();
  for (uint64_t i = looking_; i < std::min<uint64_t>(wanted, looking_ + asleep_); ++i) {
    wanted_.notify_one();
  }
}

void SlicePool::wake_helper() {
  waker_core_ = sched_getcpu();
  if (asleep_ > 0) {
    wanted_.notify_one();
  } else if (helpers_.size() < helpers_max_) {
    start_helper();
  }
}

void SlicePool::start_helper() {
  try {
    helpers_.push_back(start_quiet_thread(name_, [this] { run(); }));
  } catch (const std::system_error& failure) {
    helpers_max_ = static_cast<uint32_t>(helpers_.size());  // the others, or the loop, do it all
    GD2FS_LOG_WARN("no thread more for {}: {}", name_, failure.what());
  }
}

// Somebody who is awake looks at the queue before he sleeps, so nothing is left behind.
bool SlicePool::is_left_to_helpers() const {
  if (look_ns_ == 0) return false;
  const bool taken_at_once = looking_ > 0 && queued_bytes_ <= looking_ * kSliceBytes;
  return taken_at_once || helpers_.size() - asleep_ >= kEnoughHelpers;
}

uint64_t SlicePool::slice_bytes() const {
  const uint64_t share = align_up(queued_bytes_ / (looking_ + 1), kSliceMinBytes);
  return looking_ == 0 ? kSliceBytes : std::clamp(share, kSliceMinBytes, kSliceBytes);
}

// The next slice of the first job.
SlicePool::Slice SlicePool::begin(List<SliceJob>& from) {
  SliceJob* const job = from.front();
  if (job == nullptr) return {};
  const Slice slice{job, job->begun_bytes_,
                    std::min(job->length_bytes, job->begun_bytes_ + slice_bytes())};
  if (!job->alone) queued_bytes_ -= slice.end - slice.begin;
  job->begun_bytes_ = slice.end;
  ++job->slices_running_;
  ++begun_;
  if (slice.end == job->length_bytes) {
    job->ListNode<>::unlink();
    job->state_ = SliceJob::State::running;
  }
  return slice;
}

// True: that was the last one of its job.
bool SlicePool::end(const Slice& slice) {
  --slice.job->slices_running_;
  return slice.job->slices_running_ == 0 && slice.job->state_ == SliceJob::State::running;
}

void SlicePool::out(SliceJob& job) {
  job.state_ = SliceJob::State::idle;
  job.pool_ = nullptr;
  job.ListNode<InPoolTag>::unlink();
}

void SlicePool::begin_no_more(SliceJob& job) {
  job.ListNode<>::unlink();
  if (!job.alone) queued_bytes_ -= job.length_bytes - job.begun_bytes_;
  job.state_ = SliceJob::State::running;
}

void SlicePool::on_turn() {
  {
    std::lock_guard lock(mutex_);
    if (alone_.empty() && is_left_to_helpers()) {
      if (queue_.empty() || left_.running()) return;
      begun_when_left_ = begun_;
      return loop_.start(left_, kLeftMaxNs);
    }
  }
  make_one();
}

// A helper that was about to take it may be without a core now.
void SlicePool::on_left(Completion&) {
  {
    std::lock_guard lock(mutex_);
    if (queue_.empty()) return;
    if (begun_ != std::exchange(begun_when_left_, begun_)) return loop_.start(left_, kLeftMaxNs);
  }
  make_one();
}

void SlicePool::make_one() {
  Slice slice;
  bool more = false;
  {
    std::lock_guard lock(mutex_);
    slice = begin(alone_.empty() ? queue_ : alone_);
    more = !queue_.empty() || !alone_.empty();
  }
  if (slice.job == nullptr) return;
  if (more) loop_.post(turn_);
  slice.job->make(slice.begin, slice.end);
  {
    std::lock_guard lock(mutex_);
    if (!end(slice)) return;
    out(*slice.job);
  }
  slice.job->finished_(slice.job->owner_, *slice.job);
}

void SlicePool::on_made() {
  for (;;) {
    SliceJob* job = nullptr;
    {
      std::lock_guard lock(mutex_);
      job = made_.pop_front();
      if (job == nullptr) return;
      out(*job);
    }
    job->finished_(job->owner_, *job);
  }
}

bool SlicePool::take_back(SliceJob& job) {
  std::lock_guard lock(mutex_);
  if (job.state_ != SliceJob::State::queued) return job.state_ == SliceJob::State::idle;
  begin_no_more(job);
  if (job.slices_running_ > 0) return false;
  out(job);
  return true;
}

void SlicePool::wait(SliceJob& job) {
  std::unique_lock lock(mutex_);
  if (job.state_ == SliceJob::State::idle) return;
  if (job.state_ == SliceJob::State::queued) begin_no_more(job);
  changed_.wait(lock, [&] { return job.slices_running_ == 0; });
  if (job.state_ == SliceJob::State::made) job.ListNode<>::unlink();
  out(job);
}

void SlicePool::drop_all() {
  while (SliceJob* const job = jobs_.front()) wait(*job);
}

// Until something is queued, or it was long enough.
void SlicePool::look(std::unique_lock<std::mutex>& lock) {
  constexpr int kPausesPerLook = 16;
  ++looking_;
  lock.unlock();
  const uint64_t end_ns = loop_.now_ns() + look_ns_;
  while (queued_bytes_.load(std::memory_order_relaxed) == 0 &&
         !stopping_.load(std::memory_order_relaxed) && loop_.now_ns() < end_ns) {
    for (int i = 0; i < kPausesPerLook; ++i) spin_pause();
  }
  lock.lock();
  --looking_;
}

void SlicePool::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (look_ns_ > 0 && queue_.empty()) look(lock);
    const Slice slice = begin(queue_);
    if (slice.job == nullptr) {
      if (stopping_) return;
      ++asleep_;
      wanted_.wait(lock);
      --asleep_;
      const int waker_core = waker_core_;
      lock.unlock();
      leave_core(waker_core);  // which makes slices too
      lock.lock();
      continue;
    }
    lock.unlock();
    slice.job->make(slice.begin, slice.end);
    lock.lock();
    if (end(slice)) {
      slice.job->state_ = SliceJob::State::made;
      made_.push_back(*slice.job);
      loop_.post(made_mail_);
    }
    changed_.notify_all();
  }
}

}  // namespace gd2fs
