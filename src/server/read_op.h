// ReadOp: serves one read request. Pooled.
//
//   pieces -> steps of at most kReadStepMaxBytes -> StoreRead -> slices -> Push -> release
//
// Steps begin when the StepQueue says so; each slice is pushed as soon as it is in the slab, with
// no barrier between steps. Holes are named in the reply instead. The reply leaves when the last
// slice has been handed to the fabric, which delivers it behind the bytes; an error reply leaves
// when nothing of the request is in flight any more. Pages are held until their Push is done.
#pragma once

#include <array>
#include <vector>

#include "fabric/fabric.h"
#include "server/handle_table.h"
#include "server/request.h"
#include "server/step_queue.h"
#include "server/transfer_step.h"
#include "store/store.h"
#include "wire/body_form.h"

namespace gd2fs::server {

class ReadOp;
struct ServerState;

class ReadStep final : public TransferStep {
 public:
  static constexpr size_t kPushesMax = 8;  // in flight per step; more slices follow behind

  ReadStep();
  void start(ReadOp& op, StepQueue& queue, StepAccount& account, uint64_t window_offset);
  void retry() override;
  uint64_t moved_bytes() const override;

  StoreRead store_read;  // filled by the op before start()

 private:
  void on_read(Completion& done);
  void on_pushed(Completion& done);
  void push_slices();
  SharedPlace place_of(const StoreSlice& slice) const;
  Push* free_push();
  void finish_if_quiet();

  ReadOp* op_ = nullptr;
  StepQueue* queue_ = nullptr;
  StepAccount* account_ = nullptr;
  uint64_t window_offset_ = 0;  // of the next byte to push or to name
  size_t next_slice_ = 0;
  uint32_t slice_done_bytes_ = 0;  // of a hole that is pushed in parts
  uint64_t pushed_bytes_ = 0;
  uint32_t pushes_in_flight_ = 0;
  bool reading_ = false;
  bool all_pushed_ = false;
  std::array<Push, kPushesMax> pushes_;
};

class ReadOp final : public Request, public StepTaker {
 public:
  // More holes than this are sent as bytes, so that the reply's body stays within its limit.
  static constexpr size_t kHolesMax = 32768;

  // The connection has checked handle, epochs and the pieces' number and bounds.
  void start(Connection& connection, uint64_t request_id, const Handle& handle,
             const msg::Read& read);
  void cancel(const Status& why) override;
  void take_step() override;

 private:
  friend class ReadStep;
  static constexpr uint32_t kStepsNowMax = 64;  // of one request, begun with read_now()
  bool pieces_left() const { return next_piece_ < pieces_.size(); }
  bool failed() const { return !first_error_.ok(); }
  void want_step();
  uint32_t step_bytes_max() const;
  void fail(const Status& why);
  bool add_hole(uint64_t window_offset, uint64_t length_bytes);
  void end_step(ReadStep& step, bool sent);
  void settle();
  void reply();
  ServerState& state();

  Handle handle_;
  uint64_t generation_ = 0;
  bool sequential_ = false;
  bool lend_ = false;         // the client wants to look at the bytes
  uint64_t ahead_bytes_ = 0;  // behind it, will be asked for soon
  std::vector<msg::ReadPiece> pieces_;
  size_t next_piece_ = 0;
  uint32_t piece_done_bytes_ = 0;
  uint64_t left_bytes_ = 0;  // of the client's request, behind the steps that were begun
  bool tapers_ = false;
  uint32_t steps_open_ = 0;
  uint32_t steps_now_ = 0;     // that were begun with read_now()
  uint32_t steps_unsent_ = 0;  // with slices not yet handed to the fabric
  bool replied_ = false;
  Status first_error_;
  std::vector<msg::Range> holes_;
  uint64_t hit_bytes_ = 0;
  uint64_t miss_bytes_ = 0;
};

}  // namespace gd2fs::server
