// WriteOp: serves one write request. Pooled.
//
//   piece -> StoreWrite reserve -> Pull into the slab -> commit (data, then index and dedup record)
//
// Each piece is one step, one chunk's atomic update with a tag of its own; a piece whose tag the
// store has seen before is answered from the record and not pulled. The steps of a request run side
// by side as the StepQueue permits. The reply leaves when every piece is durable, or, with the
// first error, when nothing of the request is in flight any more; what was committed stays, and a
// retry finds it. The lease is asked for again right before each commit.
#pragma once

#include <array>
#include <vector>

#include "fabric/fabric.h"
#include "server/handle_table.h"
#include "server/request.h"
#include "server/step_queue.h"
#include "server/transfer_step.h"
#include "store/store.h"

namespace gd2fs::server {

class WriteOp;
struct ServerState;

class WriteStep final : public TransferStep {
 public:
  WriteStep();
  void start(WriteOp& op, StepQueue& queue, StepAccount& account, uint32_t piece,
             uint64_t window_offset);
  void retry() override;
  uint64_t moved_bytes() const override;

  StoreWrite store_write;  // filled by the op before start()

 private:
  enum class Phase : uint8_t { reserving, pulling, committing };
  void reserve();
  // Another copy of this piece has come by another session: what this one waits for will never
  // come.
  void give_way();
  void on_store(Completion& done);
  void on_reserved(const Status& status);
  void on_pulled(Completion& done);
  void finish(const Status& status);

  WriteOp* op_ = nullptr;
  StepQueue* queue_ = nullptr;
  StepAccount* account_ = nullptr;
  uint32_t piece_ = 0;
  uint64_t window_offset_ = 0;
  bool owns_tag_ = false;  // no other copy of this piece is in flight
  Phase phase_ = Phase::reserving;
  Pull pull_;
  std::vector<uint32_t> block_crcs_;
};

class WriteOp final : public Request, public StepTaker {
 public:
  // The connection has checked lease, rights and the pieces' number and bounds.
  void start(Connection& connection, uint64_t request_id, const Handle& handle,
             const msg::Write& write);
  void cancel(const Status& why) override;
  void take_step() override;

 private:
  friend class WriteStep;
  bool pieces_left() const { return next_piece_ < pieces_.size(); }
  bool failed() const { return !first_error_.ok(); }
  void want_step();
  void fail(const Status& why);
  Status check_current();
  void end_step(WriteStep& step, uint32_t piece, const Status& status);
  void settle();
  ServerState& state();

  Handle handle_;
  uint64_t generation_ = 0;
  uint64_t namespace_epoch_ = 0;
  uint32_t group_ = 0;
  uint64_t epoch_ = 0;
  uint64_t incarnation_ = 0;
  uint64_t low_ = 0;
  std::vector<msg::WritePiece> pieces_;
  size_t next_piece_ = 0;
  uint32_t steps_open_ = 0;
  uint64_t written_bytes_ = 0;
  std::array<uint64_t, kPiecesMax / 64> done_{};  // a bit per durable piece
  Status first_error_;
};

}  // namespace gd2fs::server
