// Staging: the way of one batch's bytes between GPU memory and the network, through slots of pinned
// host memory. Host memory in the same batch stays where it is.
//
//   begin(): takes slots, of a write also copies the GPU's bytes into them; window() is ready when
//            `ready` completes. Or begin_now(): of a read, if slots are free. Or begin_straight():
//            a write that needs no slots
//   land():  of a read, copies to the GPU what has arrived and has not gone on by itself
//   release(): gives the slots back; no peer and no copy may use them any more
//
// GpuRings has the rings, one per GPU target, and the thread that pins. A batch for several GPUs
// uses the ring of the first: pinned memory is known to all of them. On the server's host most
// bytes go straight between the server's memory and the GPU (gpu_straight.h); the ring's slots are
// for what does not: holes, short writes, memory that is not pinned yet. Belongs to the client's
// loop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "client/gpu_ring.h"
#include "client/gpu_straight.h"
#include "fabric/fabric.h"

namespace gd2fs::client {

class GpuRings {
 public:
  // `straight_required`: what cannot go past the ring fails. `fabric` is told of the rings' memory.
  GpuRings(Loop& loop, Gpu& gpu, MovedBytes& moved, uint64_t ring_max_bytes,
           bool straight_required = false, Fabric* fabric = nullptr)
      : loop_(loop),
        gpu_(gpu),
        ring_max_bytes_(ring_max_bytes),
        fabric_(fabric),
        straight_(loop, gpu, moved, straight_required) {}
  ~GpuRings();
  GpuRings(const GpuRings&) = delete;
  GpuRings& operator=(const GpuRings&) = delete;
  GpuRing& of(GpuTarget target);
  GpuStraight& straight() { return straight_; }
  Loop& loop() { return loop_; }
  Gpu& gpu() { return gpu_; }
  uint64_t pinned_bytes() const;
  // By which nics_reach() asks about one segment of GPU memory, and doubt_nics() tells of it;
  // without them none is reached.
  using AskNics = std::function<bool(const MemorySegment&)>;
  using TellNics = std::function<void(const MemorySegment&)>;
  void use_nics(AskNics reach, TellNics doubt) {
    nics_reach_ = std::move(reach);
    doubt_nics_ = std::move(doubt);
  }
  // Of each segment of GPU memory among them: some NIC of ours reaches it.
  bool nics_reach(std::span<const MemorySegment> segments) const;
  // A connection was lost while NICs moved these.
  void doubt_nics(std::span<const MemorySegment> segments) const;
  // What NICs wrote there is seen by the GPUs' work from now on.
  Status see_nic_writes(std::span<const MemorySegment> segments);

 private:
  Loop& loop_;
  Gpu& gpu_;
  const uint64_t ring_max_bytes_;
  Fabric* const fabric_;
  AskNics nics_reach_;
  TellNics doubt_nics_;
  std::unique_ptr<ThreadWorker> worker_;  // from the first ring on
  std::map<GpuTarget, std::unique_ptr<GpuRing>> rings_;
  GpuStraight straight_;
};

class Staging final : public StraightPath {
 public:
  // What lands goes on when so much of it is together: the link loses 2 us with each copy, and the
  // loop as much with each call of the driver (decision 028).
  static constexpr uint64_t kMoveOnBytes = kMiB;

  explicit Staging(GpuRings& rings);
  ~Staging() override { release(); }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // `segments`: where the bytes go or come from, in the order of the window.
  void begin(std::span<const MemorySegment> segments, Window::Direction direction,
             Completion& ready);
  // Of a sink. True: window() is ready.
  bool begin_now(std::span<const MemorySegment> segments);
  // Of a source on one GPU, for a session with staging memory. The window is
  // the GPU's memory itself.
  void begin_straight(std::span<const MemorySegment> segments);
  // Whether one may begin so: everything is on one GPU, and this memory is
  // pinned (or its pinning is waited for).
  bool may_go_straight(std::span<const MemorySegment> segments, const SharedStaging& into);
  static bool on_one_gpu(std::span<const MemorySegment> segments);
  const Status& trouble() const { return straight_.trouble(); }
  const std::vector<MemorySegment>& window() const { return window_; }
  // The window goes out, perhaps again: what an earlier answer brought counts no more, since the
  // file may have changed. `goes_on`, of a sink: what lands in the ring goes on to the GPU at once,
  // if all of it is one GPU's and in long pieces, and not only by land().
  void begin_sending(bool goes_on = false);
  void land(Completion& landed);
  bool take(StraightPart& part) override;
  bool take_back(StraightPart& part) override { return straight_.take_back(part); }
  void arrived(uint64_t offset, uint64_t length_bytes) override;
  void landed(uint64_t offset, uint64_t length_bytes) override;
  // Ends a wait for slots early. Copies cannot be stopped: they end in their time.
  void cancel();
  // Bytes are going on to the GPU. The slots are in use and the GPU's memory changes until settle()
  // has completed; land() includes that.
  bool moving_on() const { return moving_on_ > 0; }
  void settle(Completion& settled);
  void release();  // nothing is moving on

 private:
  // Where in the ring a segment begins: at the same place within 16 bytes as in GPU memory, so that
  // the copy kernel moves words.
  static uint64_t place(uint64_t ring_offset, const MemorySegment& segment);
  void look_at(std::span<const MemorySegment> segments, Window::Direction direction);
  void lay_out();
  void skip_arrived();
  void hold_back();
  void land_rest();
  uint64_t ring_bytes() const;  // of the copies
  void copy_all(GpuCopy::Direction direction, Completion& done);
  void on_slots(Completion& done);
  void on_copied(Completion& done);
  // Bytes that landed in the ring and go on.
  struct RingPart : StraightPart {
    Staging* staging = nullptr;
    uint32_t sending = 0;
    void on_done(Completion& moved) { staging->on_moved_on(*this, moved.status); }
  };
  void move_on(uint64_t offset, uint64_t length_bytes);
  void on_moved_on(const RingPart& part, const Status& status);

  GpuRings& rings_;
  GpuRing* ring_ = nullptr;
  std::vector<MemorySegment> segments_;
  std::vector<MemorySegment> window_;
  struct Range {
    uint64_t offset = 0;
    uint64_t length_bytes = 0;
  };
  std::vector<Range> arrived_;  // straight, or went on
  StraightBatch straight_;
  Window::Direction direction_ = Window::Direction::sink;
  GpuRing::Wish wish_;
  Completion* ready_ = nullptr;
  // One list per GPU; window_offsets[i] is where piece i begins in the window.
  struct Copy : GpuCopy {
    std::vector<uint64_t> window_offsets;
  };
  std::map<GpuTarget, Copy> copies_;
  Join join_;
  uint32_t sending_ = 0;            // counts
  bool goes_on_ = false;            // what lands, of this sending
  uint32_t moving_on_ = 0;          // parts
  std::vector<uint64_t> together_;  // bytes that have landed of each kMoveOnBytes of the window
  std::vector<std::unique_ptr<RingPart>> ring_parts_;
  Completion* settled_ = nullptr;  // waits for moving_on_ to be 0,
  Completion* landed_ = nullptr;   // ... and this one for the rest, too
};

// Whether any of it is GPU memory.
bool needs_staging(std::span<const MemorySegment> segments);

}  // namespace gd2fs::client
