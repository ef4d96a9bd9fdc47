// GpuRing: pinned host memory through which bytes reach GPU memory where the network cannot write
// it.
//
// Slots of 1 MiB, pinned in steps of 32 MiB as they are needed, up to a maximum; a step is pinned
// on a helper thread, the first when memory of the GPU is first registered. A batch takes all its
// slots before it is sent: so what a server sends always finds its place, and a full ring makes
// batches wait, never a connection's reader. First come, first served; what fits into one slot is
// served beside the rest, from slots kept for it. Belongs to the client's loop.
#pragma once

#include <memory>
#include <vector>

#include "base/bytes.h"
#include "fabric/fabric.h"
#include "gpu/gpu.h"
#include "loop/worker.h"

namespace gd2fs::client {

class GpuRing {
 public:
  static constexpr uint64_t kSlotBytes = kMiB;
  static constexpr uint32_t kStepSlots = 32;
  static constexpr uint64_t kStepBytes = kStepSlots * kSlotBytes;
  static constexpr uint64_t kRingDefaultBytes = 256 * kMiB;
  // The longest batch is one piece of a 64 MiB chunk, and a little for alignment.
  static constexpr uint64_t kRingLeastBytes = 96 * kMiB;
  static constexpr size_t kSmallSlots = 8;  // only for what needs one

  struct Slot {
    std::byte* data = nullptr;
    uint32_t mapping = 0;
    uint32_t number = 0;  // the ring's own
  };
  // Caller-owned until `done` completes: ok with slots, io when no memory could be pinned,
  // canceled.
  struct Wish : ListNode<> {
    size_t slot_count = 0;
    std::vector<Slot> slots;  // neighbours where there were any
    Completion done;
  };

  // `fabric` is told of the ring's memory, so that NICs may use it; null: there is none.
  GpuRing(Loop& loop, Gpu& gpu, Worker& worker, GpuTarget target, uint64_t ring_max_bytes,
          Fabric* fabric);
  ~GpuRing();  // nothing is waiting, no slot is taken, and the worker has ended

  void take(Wish& wish);
  // Without a wait, so `done` does not complete. False: there are not enough free slots, or others
  // wait for them.
  bool take_now(Wish& wish);
  void cancel(Wish& wish);  // if it still waits
  void put(std::vector<Slot>* slots);
  // Pins the first step if nothing is pinned yet.
  void warm();
  uint64_t pinned_bytes() const { return steps_.size() * kStepBytes; }

 private:
  struct Step {
    std::byte* memory = nullptr;
    std::unique_ptr<HostMapping> mapping;
    Fabric* fabric = nullptr;  // that knows the memory
    FabricMemory known() const;
    uint32_t free = UINT32_MAX;  // a bit for each slot
    ~Step();
  };
  size_t free_slots() const;
  bool grant(Wish& wish, size_t kept);
  void grant_run(Step& step, uint32_t step_number, size_t count, uint32_t run, Wish* wish);
  void serve();
  void grow_if_needed();
  void grow();
  Status pin_step();
  void on_grown(Completion&);

  Loop& loop_;
  Gpu& gpu_;
  Worker& worker_;
  const GpuTarget target_;
  const size_t steps_max_;
  Fabric* const fabric_;
  std::vector<std::unique_ptr<Step>> steps_;
  List<Wish> small_;
  List<Wish> big_;
  Job pinning_;
  std::unique_ptr<Step> pinned_;  // by the worker, on its way
  bool growing_ = false;
  Status failure_;  // of the last attempt to pin
};

}  // namespace gd2fs::client
