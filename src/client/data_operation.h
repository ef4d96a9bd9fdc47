// DataOperation: what reads, writes and advice have in common: resolve the path, plan a stretch,
// send its batches, and start over with a new layout when a server finds the old one stale.
#pragma once

#include "base/fifo.h"
#include "client/batch.h"
#include "client/operation.h"
#include "client/resolver.h"

namespace gd2fs::client {

// The handle of a file on this link, presenting its capability first if the server has not seen it.
uint32_t use_handle(Link& link, const Layout& layout);

class DataOperation : public Operation {
 public:
  static constexpr size_t kBatchesMax = 16;  // in flight per request
  static constexpr uint64_t kRingBytesMax = kBatchesMax * kBatchBytes;
  static constexpr size_t kLongBatchPieces = 128;

  DataOperation(Client& client, Request& request, bool write);
  void start() override;
  uint64_t progress() const override;
  GpuRings& rings();
  // A server on this host answers within 30 us if it is awake and within 120 if it slept, and until
  // then the GPU's link has nothing to do: the loop does not sleep meanwhile.
  static constexpr uint64_t kAnswerNs = 200 * kUs;
  void await_answer();
  // Of a read's last bytes each stripe that has come over the network goes on to the GPU by itself,
  // so that little is left to copy behind the last, and is kept out of the caches of the cores that
  // receive, where the GPU would read it slowly (decision 028). Longer reads lose by it: what was
  // received earlier has left the caches when it is copied.
  static constexpr uint64_t kLastBytes = 64 * kMiB;
  bool ends_with(const Batch& batch) const;
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
  virtual uint64_t batch_bytes() const;
  uint64_t last_batches_bytes() const;
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
  void on_way_given(Completion&);
  bool gives_way() const { return pause_.running() || way_given_.pending(); }
  bool more_to_start() const {
    return !parked_.empty() || next_planned_ != plan_.size() || planned_ != length_;
  }
  void give_way(const Batch& started);
  uint64_t bytes_in_flight() const;
  bool fills_ring() const;
  Batch* next_batch();
  Batch* make_batch(PlannedBatch&& planned);

  Completion fence_passed_;
  std::unique_ptr<Resolver::Wish> wish_;  // once something is asked
  bool resolving_ = false;
  Timer pause_;
  Completion way_given_;
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
