#include "client/view_operation.h"

#include <algorithm>
#include <cstring>

namespace gd2fs::client {
namespace {

// Where a byte of a batch's window lies in the request.
uint64_t request_offset(const Batch& batch, uint64_t window_offset) {
  uint64_t begin = 0;
  for (const Piece& piece : batch.plan.pieces) {
    if (window_offset - begin < piece.length_bytes) {
      return piece.request_offset + (window_offset - begin);
    }
    begin += piece.length_bytes;
  }
  CHECK(false);  // the session keeps grants inside the window
  return 0;
}

}  // namespace

ViewOperation::ViewOperation(Client& client, Request& request) : ReadOperation(client, request) {
  lends_ = true;
}

Status ViewOperation::on_batch_ok(Batch& batch) {
  GD2FS_TRY(ReadOperation::on_batch_ok(batch));
  for (LentBytes& each : batch.lent) {
    each.offset = request_offset(batch, each.offset);
    lent_.push_back(std::move(each));
  }
  return {};
}

bool ViewOperation::in_one_piece() const {
  uint64_t end = 0;
  for (const LentBytes& each : lent_) {
    if (each.offset != end || each.bytes.data() != lent_.front().bytes.data() + end) return false;
    end += each.bytes.size();
  }
  return end == length_ && end > 0;
}

bool ViewOperation::copy_out() const {
  MemorySegments to;
  for (const LentBytes& each : lent_) {
    to.clear();
    request_.memory.slice(each.offset, each.bytes.size(), &to);
    ConstBytes from = each.bytes;
    for (const MemorySegment& segment : to) {
      std::memcpy(segment.data, from.data(), segment.length_bytes);
      from = from.subspan(segment.length_bytes);
    }
    if (!each.still_right()) return false;
  }
  return true;
}

void ViewOperation::on_batches_done() {
  std::ranges::sort(lent_, {}, &LentBytes::offset);
  if (in_one_piece()) {
    request_.lent = std::move(lent_);
  } else if (!copy_out()) {
    lends_ = false;
    return start_over();
  }
  ReadOperation::on_batches_done();
}

void ViewOperation::start_over() {
  lent_.clear();
  ReadOperation::start_over();
}

}  // namespace gd2fs::client
