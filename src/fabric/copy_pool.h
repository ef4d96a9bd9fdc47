// CopyPool: memory copied by a loop and by as many helper threads as pay.
//
// Jobs wait in one queue, and are made in slices of at most kSliceBytes. The loop makes one in each
// turn, so that it goes on to serve its sessions between them; helpers make others at the same
// time, and are woken only when so much waits that a wake-up (58 us here) costs less than it gains.
// Where cores are to spare, helpers look for more before they sleep, and the loop leaves to them
// what they can take at once; with many of them at work it copies nothing and serves its sessions.
// A job of which no slice is being made can be taken back; whoever needs a job's memory back waits
// until finished() was called, or with wait().
//
// Thread rule: everything from the one loop; the helpers touch only what a job names.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "base/bytes.h"
#include "base/list.h"
#include "loop/loop.h"

namespace gd2fs {

class CopyJob : public ListNode<> {
 public:
  virtual ~CopyJob() = default;
  struct Part {
    std::byte* to;
    const std::byte* from;
    size_t length_bytes;
  };
  std::vector<Part> parts;
  uint64_t length_bytes = 0;  // of all parts
  // Of more bytes than a cache keeps: they are written around it, which spares reading what they
  // replace (a fifth of the time on the machine in docs/performance.md).
  bool around_cache = false;
  // Only the loop makes it, so that a core is left to the peer who waits for the bytes.
  bool alone = false;

  template <auto Method, class T>
  void bind(T* owner) {
    owner_ = owner;
    finished_ = [](void* o, CopyJob& job) { (static_cast<T*>(o)->*Method)(job); };
  }
  // The bytes [begin, end) of all, on any thread.
  virtual void copy(uint64_t begin, uint64_t end) const;

 private:
  friend class CopyPool;
  // With a slice that nobody has begun, with slices that are being made, with none but not yet
  // told.
  void* owner_ = nullptr;
  void (*finished_)(void*, CopyJob&) = nullptr;
  enum class State : uint8_t { idle, queued, running, copied };
  State state_ = State::idle;
  uint64_t begun_bytes_ = 0;  // of the slices that somebody has begun
  uint32_t slices_running_ = 0;
};

class CopyPool {
 public:
  // So much must wait before a helper is woken for it.
  static constexpr uint64_t kHelpFromBytes = 2 << 20;
  static constexpr uint64_t kSliceBytes = 512 * 1024;
  // What little there is when helpers have nothing to do is shared out in slices of no less.
  static constexpr uint64_t kSliceMinBytes = 128 * 1024;
  // With so many at work the loop is no help.
  static constexpr size_t kEnoughHelpers = 4;
  // Unless none of them has begun anything for so long: the system may have taken their cores.
  static constexpr uint64_t kLeftMaxNs = 100 * kUs;

  // `look_ns`: so long a helper with nothing to do looks for work before it sleeps.
  CopyPool(Loop& loop, uint32_t helpers_max, uint64_t look_ns = 0);
  ~CopyPool();  // no job is in it
  CopyPool(const CopyPool&) = delete;
  CopyPool& operator=(const CopyPool&) = delete;

  // finished(job) follows from the loop, never inside the call.
  void submit(CopyJob& job);
  // So much will be submitted within look_ns: helpers that sleep are woken meanwhile, one for each
  // kExpectedEach.
  static constexpr uint64_t kExpectedEach = 2 * kMiB;
  void expect(uint64_t length_bytes);
  bool idle() const { return jobs_ == 0; }
  // True: it is out of the pool and nobody touches its memory, of which a part may have been
  // copied. False: nobody begins another slice of it, and finished() will still be called.
  bool take_back(CopyJob& job);
  // Returns when the job is out of the pool, begun or not; finished() is not called any more.
  void wait(CopyJob& job);

 private:
  struct Slice {
    CopyJob* job = nullptr;
    uint64_t begin = 0;
    uint64_t end = 0;
  };
  void run();
  void on_turn();
  void on_left(Completion&);
  void copy_one();
  void on_copied();
  void on_expected();
  bool is_left_to_helpers() const;
  uint64_t slice_bytes() const;
  Slice begin(List<CopyJob>& from);
  static bool end(const Slice& slice);
  void begin_no_more(CopyJob& job);
  void wake_helper();
  void look(std::unique_lock<std::mutex>& lock);

  Loop& loop_;
  const uint32_t helpers_max_;
  const uint64_t look_ns_;
  Mail turn_;
  Mail copied_mail_;
  Mail expected_;
  uint64_t expected_bytes_ = 0;  // the loop's
  size_t jobs_ = 0;              // submitted and not finished
  Timer left_;                   // runs while something is left to helpers
  uint64_t begun_when_left_ = 0;

  std::mutex mutex_;  // of the rest
  std::condition_variable wanted_;
  std::condition_variable changed_;
  List<CopyJob> queue_;
  List<CopyJob> alone_;
  List<CopyJob> copied_;  // by helpers
  // In queue_. Changed under the mutex; who looks for work looks without it.
  std::atomic<uint64_t> queued_bytes_{0};
  uint32_t asleep_ = 0;
  uint32_t looking_ = 0;
  uint64_t begun_ = 0;                 // slices, ever
  int waker_core_ = -1;                // of the last wake_helper()
  std::atomic<bool> stopping_{false};  // as queued_bytes_
  std::vector<std::thread> helpers_;
};

}  // namespace gd2fs
