// DataOperation: what reads, writes and advice have in common: resolve the path, plan a stretch,
// send its batches, and start over with a new layout when a server finds the old one stale.
#pragma once

#include "base/fifo.h"
#include "client/operation.h"
#include "client/peer.h"
#include "client/plan.h"
#include "client/resolver.h"
#include "client/staging.h"

namespace gd2fs::client {

class DataOperation;

// The handle of a file on this link, presenting its capability first if the server has not seen it.
uint32_t use_handle(Link& link, const Layout& layout);

// One message about pieces of a file: the pieces of a PlannedBatch and their memory. GPU memory
// goes by way of a Staging: a write's bytes are fetched before the message is sent, a read's are
// taken on to the GPU after the answer.
class Batch final : public Exchange, public FromBlockPool {
 public:
  // memory nullptr: no bytes move.
  Batch(DataOperation& owner, PlannedBatch&& planned, msg::Type type, const MemoryList* memory);
  ~Batch() override;
  Result<ConstBytes> compose(Link& link, flatbuffers::FlatBufferBuilder& builder) override;
  uint32_t distance(const Link& link) const override;
  // Drops the pieces that `done` tells (by their index), with their sequences; false if none is
  // left. Only between two sends.
  bool drop_pieces(const std::vector<bool>& done, const MemoryList& list);
  void start(Peer& peer);
  void send();     // staged
  void land();     // a read that was answered and is not where it belongs yet
  void give_up();  // what can be stopped is stopped; the operation hears of the end as ever
  // A write that was to go past the ring and could not. Then: the same again, through it.
  bool needs_detour() const { return straight_source_ && (wrong_link_ || !trouble().ok()); }
  void detour();
  // Its GPU memory is the window: NICs reach it by themselves, without a slot of the ring.
  bool by_nic() const { return by_nic_; }
  // By NIC and ended: what is to become of it. A read's holes were sent by nobody.
  // `again` after a lost connection, but not for ever: it may be the NIC that cannot.
  static constexpr uint32_t kNicLossesMax = 2;
  enum class ByNic : uint8_t { done, again, through_ring };
  ByNic end_by_nic();
  // Why GPU memory could not be reached in the way that is required.
  Status trouble() const { return staging_ == nullptr ? Status() : staging_->trouble(); }
  void release_staging();
  bool staged() const { return staging_ != nullptr; }
  size_t segment_count() const { return staged() ? targets_.size() : memory.segments.size(); }
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
  bool goes_straight(const Peer& peer);
  bool goes_by_nic(const Peer& peer);
  void on_done(Completion&);
  void on_staged(Completion&);
  void on_landed(Completion&);

  std::unique_ptr<Staging> staging_;    // if any of its memory is a GPU's
  std::vector<MemorySegment> targets_;  // the memory itself then; `memory` is what is sent
  bool by_nic_ = false;
  uint32_t nic_losses_ = 0;
  bool straight_source_ = false;  // sent as it is: the session takes it out of the GPU
  bool wrong_link_ = false;       // ... but the link whose turn it was cannot
  bool through_ring_ = false;     // so it does not try again
  Completion on_staging_;
  Completion on_landing_;
};

class DataOperation : public Operation {
 public:
  static constexpr size_t kBatchesMax = 16;  // in flight per request
  static constexpr size_t kLongBatchSegments = 128;

  DataOperation(Client& client, Request& request, bool write);
  void start() override;
  uint64_t progress() const override;
  GpuRings& rings();
  // A server on this host answers within 30 us if it is awake, and until then the GPU's link has
  // nothing to do: the loop does not sleep meanwhile.
  static constexpr uint64_t kAnswerNs = 100 * kUs;
  void await_answer();
  Status trouble() const override;
  Origin waits_for() const override;

 protected:
  friend class Batch;
  // A layout has come: check it, then start_batches(length) or finish.
  virtual void begin() = 0;
  virtual Result<ConstBytes> compose(Batch& batch, Link& link,
                                     flatbuffers::FlatBufferBuilder& builder) = 0;
  // Of the batches.
  virtual msg::Type message_type() const { return write_ ? msg::Type::write : msg::Type::read; }
  virtual uint64_t batch_bytes() const { return kBatchBytes; }
  // What to do with a finished batch. A failure ends the operation.
  virtual Status on_batch_ok(Batch& batch) = 0;
  virtual void on_batch_stale(std::unique_ptr<Batch> batch) = 0;
  virtual void on_batches_done() = 0;  // all bytes have moved
  // Nothing is in flight, something was stale, and the path will be resolved again.
  virtual void start_over() = 0;
  // Further leaves that a kind of operation has of its own.
  virtual void stop_own() {}
  virtual bool quiet_own() const { return true; }

  void stop() override;
  bool quiet() const override;

  // Resolves the path; `fresh`: by a question asked after `after`. begin() follows.
  void resolve(bool fresh, uint64_t after);
  void resolve_after_stale();
  void start_batches(uint64_t length_bytes);
  void start_batch(std::unique_ptr<Batch> batch);
  void pump();
  // Reached a further step, which counts as progress once.
  void reached(uint32_t step) { step_ = std::max(step_, step); }

  const bool write_;
  bool lends_ = false;  // bytes that a server on this host grants are noted, not copied
  LayoutRef layout_;
  uint64_t born_ = 0;  // number of the last question asked when the request began
  uint64_t done_bytes_ = 0;
  Fifo<std::unique_ptr<Batch>> parked_;  // to be sent again with the next layout

 private:
  void begin_with_layout();
  void start_after_fence(uint64_t now_ns);
  void on_fence(Completion&);
  std::unique_ptr<Batch> take(Batch& batch);
  void count_host_bytes(const Batch& batch);
  void on_batch_staged(Batch& batch, const Status& status);
  void on_batch_landed(Batch& batch, const Status& status);
  void on_resolved(Completion&);
  void on_batch_done(Batch& batch);
  void on_pause(Completion&);
  Batch* next_batch();

  Completion fence_passed_;
  Resolver::Wish wish_;
  bool resolving_ = false;
  Timer pause_;
  uint32_t stale_rounds_ = 0;
  uint64_t stale_after_ = 0;  // the layout must be newer than this question
  bool stale_ = false;        // something was answered stale since the last layout
  uint64_t length_ = 0;
  uint64_t planned_ = 0;
  Plan plan_;
  size_t next_planned_ = 0;  // of plan_
  SmallVector<std::unique_ptr<Batch>, 2> in_flight_;
  uint32_t step_ = 0;
};

}  // namespace gd2fs::client
