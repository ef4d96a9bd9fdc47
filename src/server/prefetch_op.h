// PrefetchOp: serves one prefetch request: brings its pieces into the slab, a few at a time, and
// answers how many of their bytes are there in the end. A piece that finds no room is left out.
// Pooled.
#pragma once

#include <array>
#include <vector>

#include "server/handle_table.h"
#include "server/request.h"
#include "store/store.h"

namespace gd2fs::server {

struct ServerState;

class PrefetchOp final : public Request {
 public:
  static constexpr size_t kFillsMax = 4;  // in flight; the drive's window bounds what it reads

  PrefetchOp();
  // The connection has checked handle, epochs and the pieces' number and bounds.
  void start(Connection& connection, uint64_t request_id, const Handle& handle,
             const msg::Prefetch& prefetch);
  void cancel(const Status& why) override;

 private:
  void fill();
  void on_filled(Completion& done);
  void finish();

  Handle handle_;
  uint64_t generation_ = 0;
  std::vector<msg::ReadPiece> pieces_;
  size_t next_piece_ = 0;
  size_t fills_ = 0;
  Status failure_;
  std::array<StoreRead, kFillsMax> reads_;
};

}  // namespace gd2fs::server
