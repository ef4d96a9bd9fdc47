// GpuPins: memory that a server on this host shares with us, registered with CUDA, so that copies
// between it and GPU memory need no CPU. Pinned in the background when something in it is first
// wanted (31-77 ms per GiB), not the whole slab at once; given back within seconds after nobody
// else holds it. What cannot be pinned is said once, and goes through the ring as before. Belongs
// to the client's loop.
#pragma once

#include <atomic>
#include <map>
#include <memory>

#include "base/bytes.h"
#include "gpu/gpu.h"
#include "loop/worker.h"

namespace gd2fs::client {

class GpuPins {
 public:
  static constexpr uint64_t kPinnedMaxBytes = 256 * kGiB;
  static constexpr uint64_t kSweepNs = 1 * kSecond;
  static constexpr uint64_t kRetryNs = 10 * kSecond;  // after a failure

  GpuPins(Loop& loop, Gpu& gpu);
  ~GpuPins();  // nothing is copied any more; what is being pinned is waited for
  GpuPins(const GpuPins&) = delete;
  GpuPins& operator=(const GpuPins&) = delete;

  // The number by which copies of `target` know this memory; 0: it is not pinned (yet), which is
  // begun if it can be. `keeps` is held until nobody else holds it; who copies does.
  uint32_t mapping_of(GpuTarget target, Bytes memory, Gpu::Access access,
                      const std::shared_ptr<const void>& keeps);
  // After a 0: false, it will not be pinned soon, and last_failure() may say why; true: what is
  // bound by on_change() will be called.
  bool is_coming(Bytes memory) const;
  const Status& last_failure() const { return last_failure_; }
  template <auto Method, class T>
  void on_change(T* owner) {
    change_.bind<Method>(owner);
  }
  uint64_t pinned_bytes() const { return pinned_bytes_; }  // or about to be

 private:
  struct Pin {
    Bytes memory;
    std::shared_ptr<const void> keeps;
    std::unique_ptr<HostMapping> mapping;
    GpuTarget target = kHostTarget;  // with whose context it is pinned
    Job job;
    GpuPins* all = nullptr;
    bool busy = false;      // the worker has it
    bool going = false;     // it is being given back
    uint64_t retry_ns = 0;  // after a failure
    void on_done(Completion& done) { all->on_job(*this, done.status); }
  };
  void begin(GpuTarget target, Bytes memory, Gpu::Access access,
             const std::shared_ptr<const void>& keeps);
  void let_go(Pin& pin);
  void submit(Pin& pin);
  void on_job(Pin& pin, const Status& status);
  void on_sweep(Completion&);

  Loop& loop_;
  Gpu& gpu_;
  std::unique_ptr<ThreadWorker> worker_;  // of its own: the ring's growth does not wait for arenas
  std::atomic<bool> stopping_{false};
  std::map<const std::byte*, std::unique_ptr<Pin>> pins_;
  uint64_t pinned_bytes_ = 0;
  size_t busy_ = 0;
  bool said_ = false;
  Status last_failure_;
  Completion change_;  // bound: to be completed when a job has ended
  Timer sweep_;
};

}  // namespace gd2fs::client
