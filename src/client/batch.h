// Batch: one message about pieces of a file: the pieces of a PlannedBatch and their memory. GPU
// memory goes by way of a Staging: a write's bytes are fetched before the message is sent, a read's
// are taken on to the GPU after the answer.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "base/block_pool.h"
#include "client/memory_list.h"
#include "client/peer.h"
#include "client/plan.h"
#include "client/staging.h"

namespace gd2fs::client {

class DataOperation;

class Batch final : public Exchange, public FromBlockPool {
 public:
  // memory nullptr: no bytes move.
  Batch(DataOperation& owner, PlannedBatch&& planned, msg::Type type, const MemoryList* memory);
  ~Batch() override;
  Result<ConstBytes> compose(Link& link, flatbuffers::FlatBufferBuilder& builder) override;
  uint32_t distance(const Link& link) const override;
  bool must_reach(const Link& link) const override;
  // Drops the pieces that `done` tells (by their index), with their sequences; false if none is
  // left. Only between two sends.
  bool drop_pieces(const std::vector<bool>& done, const MemoryList& list);
  void start(Peer& peer);
  void send();  // staged
  void land();  // a read that was answered and is not where it belongs yet
  // A read that ended otherwise, while bytes of it are still going on to a GPU.
  bool moving_on() const { return staged() && gpu_->staging.moving_on(); }
  void settle();
  void give_up();  // what can be stopped is stopped; the operation hears of the end as ever
  // A write that was to go past the ring and could not. Then: the same again, through it.
  bool needs_detour() const {
    return staged() && gpu_->straight_source && (gpu_->wrong_link || !trouble().ok());
  }
  void detour();
  // Its GPU memory is the window: NICs reach it by themselves, without a slot of the ring.
  bool by_nic() const { return staged() && gpu_->by_nic; }
  // By NIC and ended: what is to become of it. A read's holes were sent by nobody.
  // `again` after a lost connection, but not for ever: it may be the NIC that cannot.
  static constexpr uint32_t kNicLossesMax = 2;
  enum class ByNic : uint8_t { done, again, through_ring };
  ByNic end_by_nic();
  // Why GPU memory could not be reached in the way that is required.
  Status trouble() const { return staged() ? gpu_->staging.trouble() : Status(); }
  void release_staging();
  // Some of its memory is a GPU's.
  bool staged() const { return gpu_ != nullptr; }
  bool on_one_gpu() const { return staged() && Staging::on_one_gpu(gpu_->targets); }
  // Pieces of chunks or of memory, whichever are more: so long it takes to make.
  size_t piece_count() const {
    const size_t segments = staged() ? gpu_->targets.size() : memory.segments.size();
    return std::max(segments, plan.pieces.size());
  }
  uint64_t host_bytes() const;  // of its memory

  DataOperation& operation;
  PlannedBatch plan;
  Window memory;                    // window offset 0 is the first piece's first byte
  std::vector<LentBytes> lent;      // of a view: bytes that were not copied, by window offset
  std::vector<uint64_t> sequences;  // of a write: one per piece, for all its retries
  Peer* sequences_of = nullptr;     // whose they are
  uint64_t generation = 0;          // with which it was last sent
  bool unsure = false;              // of a write: an earlier copy may have been executed

 private:
  void map_memory(const MemoryList* list);
  void leave_gpu();
  bool goes_straight(const Peer& peer);
  bool goes_by_nic(const Peer& peer);
  void on_done(Completion&);
  void on_staged(Completion&);
  void on_landed(Completion&);
  void on_settled(Completion&);

  // What only a batch with GPU memory has.
  struct OnGpu {
    explicit OnGpu(Batch& batch);
    Staging staging;
    std::vector<MemorySegment> targets;  // the memory itself; `memory` is what is sent
    bool by_nic = false;
    uint32_t nic_losses = 0;
    bool straight_source = false;  // sent as it is: the session takes it out of the GPU
    bool wrong_link = false;       // ... but the link whose turn it was cannot
    bool through_ring = false;     // so it does not try again
    Completion staged;
    Completion landed;
    Completion settled;
  };
  std::unique_ptr<OnGpu> gpu_;
};

}  // namespace gd2fs::client
