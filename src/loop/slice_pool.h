// SlicePool: work over memory (a copy, checksums) done by a loop and by as many helper threads as
// pay.
//
// Jobs wait in one queue, and are made in slices of at most kSliceBytes. The loop makes one in each
// turn, so that it goes on to serve its sessions between them; helpers make others at the same
// time, and are woken only when so much waits that a wake-up (58 us here) costs less than it gains.
// Where cores are to spare, helpers look for more before they sleep, and the loop leaves to them
// what they can take at once; with many of them at work it does nothing of it and serves its
// sessions. A job of which no slice is being made can be taken back; whoever needs a job's memory
// back waits until finished() was called, or with wait().
//
// Thread rule: everything from the one loop; the helpers touch only what a job names.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "base/list.h"
#include "loop/loop.h"

namespace gd2fs {

class SlicePool;

struct InPoolTag;

class SliceJob : public ListNode<>, public ListNode<InPoolTag> {
 public:
  virtual ~SliceJob() { CHECK(pool_ == nullptr); }
  uint64_t length_bytes = 0;
  // Only the loop makes it, so that a core is left to the peer who waits for the bytes.
  bool alone = false;

  template <auto Method, class T>
  void bind(T* owner) {
    owner_ = owner;
    finished_ = [](void* o, SliceJob& job) { (static_cast<T*>(o)->*Method)(job); };
  }
  // The bytes [begin, end) of all, on any thread, while other threads make others. Each byte is
  // made once, and every slice but the last ends at a multiple of SlicePool::kSliceMinBytes.
  virtual void make(uint64_t begin, uint64_t end) = 0;

 protected:
  // Out of its pool, if it is in one: for the destructor of a job that may go before it is
  // finished.
  void leave();

 private:
  friend class SlicePool;
  SlicePool* pool_ = nullptr;  // the loop's
  void* owner_ = nullptr;
  void (*finished_)(void*, SliceJob&) = nullptr;
  // With a slice that nobody has begun, with slices that are being made, with none but not yet
  // told.
  enum class State : uint8_t { idle, queued, running, made };
  State state_ = State::idle;
  uint64_t begun_bytes_ = 0;  // of the slices that somebody has begun
  uint32_t slices_running_ = 0;
};

class SlicePool {
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

  // `name`: the helpers', for the system's tools; it stays. `look_ns`: so long a helper with
  // nothing to do looks for work before it sleeps. Where the system gives no thread, fewer help.
  SlicePool(Loop& loop, const char* name, uint32_t helpers_max, uint64_t look_ns = 0);
  ~SlicePool();  // as drop_all()
  SlicePool(const SlicePool&) = delete;
  SlicePool& operator=(const SlicePool&) = delete;

  // finished(job) follows from the loop, never inside the call.
  void submit(SliceJob& job);
  // So much will be submitted within look_ns: helpers that sleep are woken meanwhile, one for each
  // kExpectedEach.
  static constexpr uint64_t kExpectedEach = 2 * kMiB;
  void expect(uint64_t length_bytes);
  bool idle() const { return jobs_.empty(); }
  // True: it is out of the pool and nobody touches its memory, of which a part may have been
  // made. False: nobody begins another slice of it, and finished() will still be called.
  bool take_back(SliceJob& job);
  // Returns when the job is out of the pool, begun or not; finished() is not called any more.
  void wait(SliceJob& job);
  // The same for all jobs that are in it.
  void drop_all();

 private:
  struct Slice {
    SliceJob* job = nullptr;
    uint64_t begin = 0;
    uint64_t end = 0;
  };
  void run();
  void on_turn();
  void on_left(Completion&);
  void make_one();
  void on_made();
  void on_expected();
  bool is_left_to_helpers() const;
  uint64_t slice_bytes() const;
  Slice begin(List<SliceJob>& from);
  static bool end(const Slice& slice);
  void begin_no_more(SliceJob& job);
  static void out(SliceJob& job);
  void wake_helper();
  void start_helper();
  void look(std::unique_lock<std::mutex>& lock);

  Loop& loop_;
  const char* const name_;
  uint32_t helpers_max_;
  const uint64_t look_ns_;
  Mail turn_;
  Mail made_mail_;
  Mail expected_;
  uint64_t expected_bytes_ = 0;     // the loop's
  List<SliceJob, InPoolTag> jobs_;  // submitted and not finished; the loop's
  Timer left_;                      // runs while something is left to helpers
  uint64_t begun_when_left_ = 0;

  std::mutex mutex_;  // of the rest
  std::condition_variable wanted_;
  std::condition_variable changed_;
  List<SliceJob> queue_;
  List<SliceJob> alone_;
  List<SliceJob> made_;  // by helpers
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
