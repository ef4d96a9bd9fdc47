// Copies between GPU memory and memory that a server shares with us, without the ring; and of the
// ring's stripes that go on as they come, which join the same queue.
//
// Parts come one at a time (a server grants a page of at most 4 MiB), and each copy costs the link
// 2 us beside its bytes; scattered pieces want to fill 16 blocks of the kernel. So while the link
// has enough to do, parts wait for each other and become one copy: those of long pieces whatever
// batch they are of, those of short ones within their batch.
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
  // A batch of less does not wait for long copies: it goes beside them.
  static constexpr uint64_t kJoinedMinBytes = 2 * kMiB;
  struct Rules {
    // One that runs and the others behind it: the link does not idle until the end of the first is
    // noticed. What comes meanwhile is joined.
    uint32_t copies_max;
    uint64_t ahead_bytes;  // but more of them if they are as short as that together
    uint64_t joined_max_bytes;
    // A part so large is worth a copy of its own when the link idles: what else arrives in this
    // turn would hold it up for longer than a copy costs.
    uint64_t alone_bytes;
    // The newest batch stays behind if there are older ones: the ends of those are dealt with while
    // the link still has the newest to copy.
    bool leaves_newest;
  };
  // 32 MiB: what came first waits at most 0.6 ms for what came last.
  static constexpr Rules kToGpu{2, 4 * kMiB, 32 * kMiB, kMiB, true};
  // The loop that asks for copies out of the ring also receives: it notices the end of one up to
  // 0.3 ms late, and the link has enough to do until then (decision 028).
  static constexpr Rules kOutOfRing{2, 16 * kMiB, 32 * kMiB, kMiB, true};
  // The server waits for the bytes to copy them on, on several threads: it gets them in pieces that
  // keep these busy, and soon.
  static constexpr Rules kFromGpu{3, kAheadBytes, 2 * kMiB, 512 * kKiB, false};
  // So long after it gave bytes to the server this side looks for what is asked next.
  static constexpr uint64_t kAskedNs = 200 * kUs;

  // `required`: parts wait until their memory is pinned, and fail if it cannot be.
  GpuStraight(Loop& loop, Gpu& gpu, MovedBytes& moved, bool required);
  ~GpuStraight();  // nothing is waiting or under way
  GpuStraight(const GpuStraight&) = delete;
  GpuStraight& operator=(const GpuStraight&) = delete;

  Loop& loop() { return loop_; }
  GpuPins& pins() { return pins_; }
  MovedBytes& moved() { return moved_; }
  bool required() const { return required_; }
  // Copies this way will follow: after a pause the driver is woken meanwhile.
  static constexpr uint64_t kPauseNs = 100 * kUs;
  void expect(GpuTarget target, GpuCopy::Direction direction);
  // --- for StraightBatch ---
  void add(StraightBatch& batch, StraightPart& part);
  // Until its memory is pinned: then it goes to its batch.
  void park(StraightPart& part) { parked_.push_back(part); }
  // One copy that parts are put into, and off it goes.
  struct Group : GpuCopy {
    GpuStraight* all = nullptr;
    List<StraightPart> parts;
    uint64_t length_bytes = 0;
    bool in_use = false;
    void on_done(Completion&) { all->on_copied(*this); }
  };
  Group& begin(GpuTarget target, GpuCopy::Direction direction);
  void issue(Group& group);  // if there is anything in it

 private:
  using Way = std::pair<GpuTarget, GpuCopy::Direction>;  // a link carries both at once
  struct Account {                                       // of what is under way
    uint64_t bytes = 0;
    uint32_t copies = 0;
  };
  // Joined parts and batches of their own each have theirs: neither kind waits for the other.
  struct Lane {
    Account joined;
    Account batches;
    uint64_t awake_ns = 0;     // when the driver was last called
    List<StraightPart> parts;  // that wait and may be joined
    bool may_go(const Rules& rules) const {
      return joined.copies < rules.copies_max || joined.bytes < rules.ahead_bytes;
    }
    Account& of(const Group& group) { return group.bulk ? joined : batches; }
  };
  bool retry_apart(Group& group);
  // Those of what waits first, or comes.
  static const Rules& rules_of(const Way& way, const StraightPart& part) {
    if (part.mapping.empty()) return kOutOfRing;
    return way.second == GpuCopy::Direction::to_gpu ? kToGpu : kFromGpu;
  }
  Group& unused_group();
  bool may_go(StraightBatch& batch);
  void go(StraightBatch& batch);
  void go(const Way& way, Lane& lane);
  void join(const Way& way, Lane& lane);
  void look_soon();
  void on_look(Completion&);
  void on_copied(Group& group);
  void on_pins(Completion&);

  Loop& loop_;
  Gpu& gpu_;
  MovedBytes& moved_;
  const bool required_;
  List<StraightBatch> waiting_;  // of short pieces
  List<StraightPart> parked_;
  std::map<Way, Lane> lanes_;
  std::vector<std::unique_ptr<Group>> groups_;
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
  // Of a sink: bytes in the ring, whose mapping_number the part has. Only if joins().
  void take_from_ring(StraightPart& part);

  // --- for GpuStraight ---
  GpuCopy::Direction direction() const { return direction_; }
  uint64_t gpu_bytes() const { return gpu_bytes_; }  // of the window
  bool joins() const { return joins_; }  // its parts become one copy with those of others
  void take_parked(StraightPart& part);
  void wait(StraightPart& part) { parts_.push_back(part); }  // for others of this batch
  GpuTarget target() { return parts_.front()->target; }      // of the first that waits
  bool whole() const { return taken_bytes_ == gpu_bytes_; }  // no more will come
  void issue();                                              // all that waits
  // Or not, if its memory is not pinned any more: then it ends, or waits until it is again.
  void put(StraightPart& part, GpuStraight::Group& group);
  void put_again(StraightPart& part, GpuStraight::Group& group);  // that was in one which failed
  void copied(StraightPart& part, const Status& status);

 private:
  template <class Visit>
  void for_range(uint64_t offset, uint64_t length_bytes, Visit visit) const;
  GpuTarget only_gpu_of(uint64_t offset, uint64_t length_bytes) const;
  Gpu::Access access() const;
  void add(StraightPart& part);
  bool find_mapping(StraightPart& part);
  void refuse(const Status& why);
  bool may_join() const;

  GpuStraight& all_;
  const std::vector<MemorySegment>* segments_ = nullptr;
  std::vector<uint64_t> ends_;  // ends_[i]: bytes of the window up to and with segment i
  GpuCopy::Direction direction_ = GpuCopy::Direction::to_gpu;
  uint64_t gpu_bytes_ = 0;    // of the window
  uint64_t taken_bytes_ = 0;  // since it was sent
  bool joins_ = false;
  List<StraightPart> parts_;  // that wait, if they are not to be joined with those of others
  uint32_t under_way_ = 0;    // parts
  Status trouble_;
};

}  // namespace gd2fs::client
