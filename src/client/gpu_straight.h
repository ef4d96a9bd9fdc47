// Copies between GPU memory and memory that a server shares with us, without the ring.
//
// Parts come one at a time (a server grants 512 KiB at once), and a copy of 512 KiB reaches 43 GB/s
// where one of 8 MiB reaches 54; scattered pieces want to fill 16 blocks of the kernel. So while
// the link has enough to do, the parts of a batch wait for each other and become one copy.
//
// StraightBatch is one batch's parts; GpuStraight decides when they go. Both belong to the client's
// loop.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "client/gpu_pins.h"
#include "client/moved_bytes.h"
#include "fabric/fabric.h"

namespace gd2fs::client {

class StraightBatch;

class GpuStraight {
 public:
  // What is under way keeps the link busy for 38 us: longer than it takes to notice its end and to
  // issue more.
  static constexpr uint64_t kAheadBytes = 2 * kMiB;
  // A part so large is worth a copy of its own when the link idles: what else arrives in this turn
  // would hold it up for longer than a copy costs.
  static constexpr uint64_t kAloneBytes = kMiB;

  // `required`: parts wait until their memory is pinned, and fail if it cannot be.
  GpuStraight(Loop& loop, Gpu& gpu, MovedBytes& moved, bool required);
  ~GpuStraight();  // nothing is waiting or under way
  GpuStraight(const GpuStraight&) = delete;
  GpuStraight& operator=(const GpuStraight&) = delete;

  Loop& loop() { return loop_; }
  Gpu& gpu() { return gpu_; }
  GpuPins& pins() { return pins_; }
  MovedBytes& moved() { return moved_; }
  bool required() const { return required_; }
  void add(StraightBatch& batch, const StraightPart& part);  // its new part
  void begun(const GpuCopy& copy, uint64_t length_bytes) { under_way_[way(copy)] += length_bytes; }
  void ended(const GpuCopy& copy, uint64_t length_bytes);
  bool busy(GpuTarget target, GpuCopy::Direction direction) {
    return under_way_[{target, direction}] >= kAheadBytes;
  }
  // Until its memory is pinned: then it goes to its batch.
  void park(StraightPart& part) { parked_.push_back(part); }

 private:
  using Way = std::pair<GpuTarget, GpuCopy::Direction>;  // a link carries both at once
  static Way way(const GpuCopy& copy) { return {copy.target, copy.direction}; }
  bool may_go(StraightBatch& batch);
  void go(StraightBatch& batch);
  void look_soon();
  void on_look(Completion&);
  void on_pins(Completion&);

  Loop& loop_;
  Gpu& gpu_;
  MovedBytes& moved_;
  const bool required_;
  List<StraightBatch> waiting_;
  List<StraightPart> parked_;
  std::map<Way, uint64_t> under_way_;
  Completion look_;
  GpuPins pins_;  // last: it calls on_pins() until it is gone
};

class StraightBatch : public ListNode<> {
 public:
  explicit StraightBatch(GpuStraight& all) : all_(all) {}
  ~StraightBatch();
  StraightBatch(const StraightBatch&) = delete;
  StraightBatch& operator=(const StraightBatch&) = delete;

  // `segments`: the window's own order; borrowed.
  void begin(const std::vector<MemorySegment>& segments, GpuCopy::Direction direction);
  void begin_sending() {
    taken_bytes_ = 0;
    trouble_ = Status();
  }
  // Why a part of a source, or one for which this way is required, could not go it.
  const Status& trouble() const { return trouble_; }
  // As StraightPath has them.
  bool take(StraightPart& part);
  bool take_back(StraightPart& part);

  // --- for GpuStraight ---
  GpuCopy::Direction direction() const { return direction_; }
  void take_parked(StraightPart& part);
  GpuTarget target() { return parts_.front()->target; }      // of the first that waits
  bool whole() const { return taken_bytes_ == gpu_bytes_; }  // no more will come
  void issue();                                              // all that waits

 private:
  struct Group : GpuCopy {
    StraightBatch* batch = nullptr;
    List<StraightPart> parts;
    uint64_t length_bytes = 0;
    bool in_use = false;
    void on_done(Completion& copied) { batch->on_copied(*this, copied.status); }
  };
  template <class Visit>
  void for_range(uint64_t offset, uint64_t length_bytes, Visit visit) const;
  GpuTarget only_gpu_of(uint64_t offset, uint64_t length_bytes) const;
  Gpu::Access access() const;
  void add(StraightPart& part);
  void refuse(const Status& why);
  Group& free_group();
  void add_pieces(const StraightPart& part, std::vector<GpuPiece>* pieces) const;
  void on_copied(Group& group, const Status& status);

  GpuStraight& all_;
  const std::vector<MemorySegment>* segments_ = nullptr;
  std::vector<uint64_t> ends_;  // ends_[i]: bytes of the window up to and with segment i
  GpuCopy::Direction direction_ = GpuCopy::Direction::to_gpu;
  uint64_t gpu_bytes_ = 0;    // of the window
  uint64_t taken_bytes_ = 0;  // since it was sent
  List<StraightPart> parts_;  // that wait
  std::vector<std::unique_ptr<Group>> groups_;
  Status trouble_;
};

}  // namespace gd2fs::client
