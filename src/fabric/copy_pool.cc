#include "fabric/copy_pool.h"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <pthread.h>
#include <sched.h>
#include <utility>

#include "base/bytes.h"
#include "base/leave_core.h"

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace gd2fs {
namespace {

// As memcpy does it for large sizes; but it sees only a piece of what is copied.
void copy_around_cache(std::byte* to, const std::byte* from, size_t length) {
#if defined(__x86_64__)
  constexpr size_t kLine = 64;
  const size_t head = std::min(length, -reinterpret_cast<uintptr_t>(to) % kLine);
  std::memcpy(to, from, head);
  to += head;
  from += head;
  length -= head;
  for (; length >= kLine; to += kLine, from += kLine, length -= kLine) {
    const auto* in = reinterpret_cast<const __m128i*>(from);
    auto* out = reinterpret_cast<__m128i*>(to);
    const __m128i a = _mm_loadu_si128(in);
    const __m128i b = _mm_loadu_si128(in + 1);
    const __m128i c = _mm_loadu_si128(in + 2);
    const __m128i d = _mm_loadu_si128(in + 3);
    _mm_stream_si128(out, a);
    _mm_stream_si128(out + 1, b);
    _mm_stream_si128(out + 2, c);
    _mm_stream_si128(out + 3, d);
  }
  _mm_sfence();
#endif
  std::memcpy(to, from, length);
}

}  // namespace

void CopyJob::copy(uint64_t begin, uint64_t end) const {
  uint64_t at = 0;
  for (const Part& part : parts) {
    const uint64_t from = std::max(begin, at);
    const uint64_t to = std::min(end, at + part.length_bytes);
    if (from < to) {
      const auto copy_bytes = around_cache
                                  ? &copy_around_cache
                                  : +[](std::byte* target, const std::byte* source, size_t length) {
                                      std::memcpy(target, source, length);
                                    };
      copy_bytes(part.to + (from - at), part.from + (from - at), to - from);
    }
    at += part.length_bytes;
    if (at >= end) return;
  }
}

CopyPool::CopyPool(Loop& loop, uint32_t helpers_max, uint64_t look_ns)
    : loop_(loop), helpers_max_(helpers_max), look_ns_(look_ns) {
  turn_.bind<&CopyPool::on_turn>(this);
  copied_mail_.bind<&CopyPool::on_copied>(this);
  expected_.bind<&CopyPool::on_expected>(this);
  left_.bind<&CopyPool::on_left>(this);
}

CopyPool::~CopyPool() {
  {
    std::lock_guard lock(mutex_);
    CHECK(queue_.empty() && alone_.empty() && copied_.empty());
    stopping_ = true;
  }
  wanted_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
  for (Mail* mail : {&turn_, &copied_mail_, &expected_}) loop_.take_back(*mail);
}

void CopyPool::submit(CopyJob& job) {
  {
    std::lock_guard lock(mutex_);
    CHECK(job.state_ == CopyJob::State::idle);
    job.state_ = CopyJob::State::queued;
    job.begun_bytes_ = 0;
    (job.alone ? alone_ : queue_).push_back(job);
    if (!job.alone) queued_bytes_ += job.length_bytes;
    ++jobs_;
    // Those who look for work take a slice each without being woken.
    if (!job.alone && queued_bytes_ >= kHelpFromBytes + looking_ * kSliceBytes) wake_helper();
  }
  loop_.post(turn_);
}

void CopyPool::expect(uint64_t length_bytes) {
  if (look_ns_ == 0) return;
  expected_bytes_ += length_bytes;
  loop_.post(expected_);
}

// From the next turn: the wake-ups take 10 us, and what makes others begin goes out first.
void CopyPool::on_expected() {
  const uint64_t wanted = std::exchange(expected_bytes_, 0) / kExpectedEach + 1;
  std::lock_guard lock(mutex_);
  if (asleep_ == 0) return;
  waker_core_ = sched_getcpu();
  for (uint64_t i = looking_; i < std::min<uint64_t>(wanted, looking_ + asleep_); ++i) {
    wanted_.notify_one();
  }
}

void CopyPool::wake_helper() {
  waker_core_ = sched_getcpu();
  if (asleep_ > 0) {
    wanted_.notify_one();
  } else if (helpers_.size() < helpers_max_) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    helpers_.emplace_back([this] { run(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    pthread_setname_np(helpers_.back().native_handle(), "gd2fs-copy");
  }
}

// Somebody who is awake looks at the queue before he sleeps, so nothing is left behind.
bool CopyPool::is_left_to_helpers() const {
  if (look_ns_ == 0) return false;
  const bool taken_at_once = looking_ > 0 && queued_bytes_ <= looking_ * kSliceBytes;
  return taken_at_once || helpers_.size() - asleep_ >= kEnoughHelpers;
}

uint64_t CopyPool::slice_bytes() const {
  const uint64_t share = align_up(queued_bytes_ / (looking_ + 1), kSliceMinBytes);
  return looking_ == 0 ? kSliceBytes : std::clamp(share, kSliceMinBytes, kSliceBytes);
}

// The next slice of the first job.
CopyPool::Slice CopyPool::begin(List<CopyJob>& from) {
  CopyJob* const job = from.front();
  if (job == nullptr) return {};
  const Slice slice{job, job->begun_bytes_,
                    std::min(job->length_bytes, job->begun_bytes_ + slice_bytes())};
  if (!job->alone) queued_bytes_ -= slice.end - slice.begin;
  job->begun_bytes_ = slice.end;
  ++job->slices_running_;
  ++begun_;
  if (slice.end == job->length_bytes) {
    job->unlink();
    job->state_ = CopyJob::State::running;
  }
  return slice;
}

// True: that was the last one of its job.
bool CopyPool::end(const Slice& slice) {
  --slice.job->slices_running_;
  return slice.job->slices_running_ == 0 && slice.job->state_ == CopyJob::State::running;
}

void CopyPool::begin_no_more(CopyJob& job) {
  job.unlink();
  if (!job.alone) queued_bytes_ -= job.length_bytes - job.begun_bytes_;
  job.state_ = CopyJob::State::running;
}

void CopyPool::on_turn() {
  {
    std::lock_guard lock(mutex_);
    if (alone_.empty() && is_left_to_helpers()) {
      if (queue_.empty() || left_.running()) return;
      begun_when_left_ = begun_;
      return loop_.start(left_, kLeftMaxNs);
    }
  }
  copy_one();
}

// A helper that was about to take it may be without a core now.
void CopyPool::on_left(Completion&) {
  {
    std::lock_guard lock(mutex_);
    if (queue_.empty()) return;
    if (begun_ != std::exchange(begun_when_left_, begun_)) return loop_.start(left_, kLeftMaxNs);
  }
  copy_one();
}

void CopyPool::copy_one() {
  Slice slice;
  bool more = false;
  {
    std::lock_guard lock(mutex_);
    slice = begin(alone_.empty() ? queue_ : alone_);
    more = !queue_.empty() || !alone_.empty();
  }
  if (slice.job == nullptr) return;
  if (more) loop_.post(turn_);
  slice.job->copy(slice.begin, slice.end);
  {
    std::lock_guard lock(mutex_);
    if (!end(slice)) return;
    slice.job->state_ = CopyJob::State::idle;
  }
  --jobs_;
  slice.job->finished_(slice.job->owner_, *slice.job);
}

void CopyPool::on_copied() {
  for (;;) {
    CopyJob* job = nullptr;
    {
      std::lock_guard lock(mutex_);
      job = copied_.pop_front();
      if (job == nullptr) return;
      job->state_ = CopyJob::State::idle;
    }
    --jobs_;
    job->finished_(job->owner_, *job);
  }
}

bool CopyPool::take_back(CopyJob& job) {
  std::lock_guard lock(mutex_);
  if (job.state_ != CopyJob::State::queued) return job.state_ == CopyJob::State::idle;
  begin_no_more(job);
  if (job.slices_running_ > 0) return false;
  job.state_ = CopyJob::State::idle;
  --jobs_;
  return true;
}

void CopyPool::wait(CopyJob& job) {
  std::unique_lock lock(mutex_);
  if (job.state_ == CopyJob::State::idle) return;
  if (job.state_ == CopyJob::State::queued) begin_no_more(job);
  changed_.wait(lock, [&] { return job.slices_running_ == 0; });
  if (job.state_ == CopyJob::State::copied) job.unlink();
  job.state_ = CopyJob::State::idle;
  --jobs_;
}

// Until something is queued, or it was long enough.
void CopyPool::look(std::unique_lock<std::mutex>& lock) {
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

void CopyPool::run() {
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
      leave_core(waker_core);  // which copies too
      lock.lock();
      continue;
    }
    lock.unlock();
    slice.job->copy(slice.begin, slice.end);
    lock.lock();
    if (end(slice)) {
      slice.job->state_ = CopyJob::State::copied;
      copied_.push_back(*slice.job);
      loop_.post(copied_mail_);
    }
    changed_.notify_all();
  }
}

}  // namespace gd2fs
