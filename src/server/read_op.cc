#include "server/read_op.h"

#include <algorithm>

#include "base/crc32c.h"
#include "server/connection.h"
#include "server/server_state.h"

namespace gd2fs::server {
namespace {
// How much is filled in front of a stream: while its reader does something with the bytes that it
// has, the drive goes on.
constexpr uint64_t kAheadMinBytes = 8 * kMiB;
constexpr uint64_t kAheadMaxBytes = 16 * kMiB;
// A client's word is not to make sums overflow.
constexpr uint64_t kFollowsMaxBytes = uint64_t{1} << 50;

// What a hole is pushed from, when it cannot be named.
constexpr std::array<std::byte, kBlockBytes> kZeros{};
}  // namespace

// --- one step ---

ReadStep::ReadStep() {
  store_read.done.bind<&ReadStep::on_read>(this);
  for (Push& push : pushes_) push.done.bind<&ReadStep::on_pushed>(this);
}

void ReadStep::start(ReadOp& op, StepQueue& queue, StepAccount& account, uint64_t window_offset) {
  op_ = &op;
  queue_ = &queue;
  account_ = &account;
  window_offset_ = window_offset;
  next_slice_ = 0;
  slice_done_bytes_ = 0;
  pushed_bytes_ = 0;
  pushes_in_flight_ = 0;
  all_pushed_ = false;
  busy_since_ns = 0;
  op.connection_->open_steps().push_back(*this);
  reading_ = true;
  // Others have their turn too: a long request's steps may all be holes.
  if (++op.steps_now_ > ReadOp::kStepsNowMax) return op.state().store.read(store_read);
  if (op.state().store.read_now(store_read)) on_read(store_read.done);
}

void ReadStep::retry() {
  if (op_->failed()) return finish_if_quiet();
  reading_ = true;
  op_->state().store.read(store_read);
}

uint64_t ReadStep::moved_bytes() const {
  uint64_t moved = pushed_bytes_;
  for (const Push& push : pushes_) {
    if (push.done.pending()) moved += push.cut_bytes;
  }
  return moved;
}

void ReadStep::on_read(Completion& done) {
  reading_ = false;
  if (done.status.is(StatusCode::busy) && !op_->failed() && op_->state().parking.park(*this)) {
    return;
  }
  if (!done.status.ok()) {
    op_->fail(done.status);
  } else if (store_read.hit) {
    op_->hit_bytes_ += store_read.length_bytes;
  } else {
    op_->miss_bytes_ += store_read.length_bytes;
  }
  if (!op_->failed()) push_slices();
  finish_if_quiet();
}

Push* ReadStep::free_push() {
  if (pushes_in_flight_ == kPushesMax) return nullptr;
  for (Push& push : pushes_) {
    if (!push.done.pending()) return &push;
  }
  return nullptr;
}

// Where a client on this host may fetch it: only in an arena of the cluster that its token proved.
SharedPlace ReadStep::place_of(const StoreSlice& slice) const {
  if (slice.arena == nullptr || slice.arena->cluster != op_->connection_->cluster_id()) return {};
  return {slice.arena, slice.arena_offset, slice.page_generation};
}

// Hands slices to the fabric until none is left or kPushesMax are in flight.
void ReadStep::push_slices() {
  while (next_slice_ < store_read.slices.size()) {
    const StoreSlice& slice = store_read.slices[next_slice_];
    if (slice.zeros && slice_done_bytes_ == 0 &&
        op_->add_hole(window_offset_, slice.length_bytes)) {
      window_offset_ += slice.length_bytes;
      ++next_slice_;
      continue;
    }
    Push* push = free_push();
    if (push == nullptr) return;
    push->request_id = op_->request_id_;
    push->offset = window_offset_;
    push->lend = op_->lend_;
    if (slice.zeros) {
      const uint32_t left = slice.length_bytes - slice_done_bytes_;
      push->bytes = ConstBytes(kZeros).first(std::min<size_t>(left, kZeros.size()));
      push->crc = crc32c_zeros(push->bytes.size());
      push->has_crc = true;
      push->place = {};
    } else {
      push->bytes = slice.bytes;
      push->crc = slice.crc;
      push->has_crc = !store_read.uncut;
      push->place = place_of(slice);
    }
    window_offset_ += push->bytes.size();
    slice_done_bytes_ += static_cast<uint32_t>(push->bytes.size());
    if (slice_done_bytes_ == slice.length_bytes) {
      slice_done_bytes_ = 0;
      ++next_slice_;
    }
    ++pushes_in_flight_;
    op_->connection_->session().push(*push);
  }
  all_pushed_ = true;
  --op_->steps_unsent_;
}

void ReadStep::on_pushed(Completion& done) {
  --pushes_in_flight_;
  pushed_bytes_ += done.value;
  if (!done.status.ok()) op_->fail(done.status);
  if (!all_pushed_ && !op_->failed()) push_slices();
  finish_if_quiet();
}

void ReadStep::finish_if_quiet() {
  const bool done = all_pushed_ || op_->failed();
  if (reading_ || pushes_in_flight_ > 0 || !done) return op_->settle();
  const uint64_t bytes = store_read.length_bytes;
  store_read.release();
  ListNode<TransferStep>::unlink();
  ListNode<ParkedTag>::unlink();
  ReadOp& op = *op_;
  StepQueue& queue = *queue_;
  StepAccount& account = *account_;
  op.state().counters.read_bytes_total += pushed_bytes_;
  op.end_step(*this, all_pushed_);
  // Last, because it may start other steps, in this very object too.
  queue.finish(account, bytes);
}

// --- the request ---

ServerState& ReadOp::state() {
  return connection_->state();
}

void ReadOp::start(Connection& connection, uint64_t request_id, const Handle& handle,
                   const msg::Read& read) {
  connection_ = &connection;
  request_id_ = request_id;
  handle_ = handle;
  generation_ = read.generation();
  sequential_ = read.sequential();
  lend_ = read.lend();
  pieces_.clear();
  if (read.pieces() != nullptr) {
    for (const msg::ReadPiece* piece : *read.pieces()) {
      if (piece->length_bytes() > 0) pieces_.push_back(*piece);
    }
  }
  uint64_t length_bytes = 0;
  for (const msg::ReadPiece& piece : pieces_) length_bytes += piece.length_bytes();
  ahead_bytes_ = read.stream() ? std::clamp(2 * length_bytes, kAheadMinBytes, kAheadMaxBytes) : 0;
  tapers_ = read.follows_bytes().has_value();
  left_bytes_ = length_bytes + std::min(read.follows_bytes().value_or(0), kFollowsMaxBytes);
  next_piece_ = 0;
  piece_done_bytes_ = 0;
  steps_open_ = 0;
  steps_now_ = 0;
  steps_unsent_ = 0;
  replied_ = false;
  first_error_ = Status();
  holes_.clear();
  hit_bytes_ = 0;
  miss_bytes_ = 0;
  ++state().counters.read_requests_total;
  connection.begin(*this);
  if (!pieces_left()) return settle();
  want_step();
}

uint32_t ReadOp::step_bytes_max() const {
  return tapers_ && left_bytes_ <= kTaperBytes ? kTaperStepBytes : kReadStepMaxBytes;
}

void ReadOp::want_step() {
  const uint32_t left = pieces_[next_piece_].length_bytes() - piece_done_bytes_;
  step_bytes = std::min(left, step_bytes_max());
  const bool small = step_bytes <= kSmallStepBytes;
  ServerState& server = state();
  (small ? server.small_reads : server.big_reads)
      .want(small ? connection_->small_reads : connection_->big_reads, *this);
}

void ReadOp::take_step() {
  const msg::ReadPiece& piece = pieces_[next_piece_];
  const bool small = step_bytes <= kSmallStepBytes;
  ReadStep* step = state().read_steps.get();
  CHECK(step != nullptr);  // as many as both queues' steps_max
  StoreRead& read = step->store_read;
  read.key = {handle_.inode, piece.chunk()};
  read.chunk_log2 = handle_.chunk_log2;
  read.offset_bytes = piece.offset_bytes() + piece_done_bytes_;
  read.length_bytes = static_cast<uint32_t>(step_bytes);
  read.generation = generation_;
  read.sequential = sequential_;
  read.ahead_bytes = ahead_bytes_;
  read.fill_bytes_max = step_bytes_max();
  left_bytes_ -= read.length_bytes;
  read.left_bytes = tapers_ ? left_bytes_ : UINT64_MAX;
  read.uncut = !connection_->session().wants_crcs();
  const uint64_t window_offset = piece.window_offset() + piece_done_bytes_;
  piece_done_bytes_ += read.length_bytes;
  if (piece_done_bytes_ == piece.length_bytes()) {
    piece_done_bytes_ = 0;
    ++next_piece_;
  }
  steps_open_ += 2;  // it, and this call: all may have ended when start() returns
  ++steps_unsent_;
  step->start(*this, small ? state().small_reads : state().big_reads,
              small ? connection_->small_reads : connection_->big_reads, window_offset);
  if (pieces_left()) want_step();
  --steps_open_;
  settle();
}

void ReadOp::fail(const Status& why) {
  if (failed()) return;
  first_error_ = why;
  ListNode<StepTaker>::unlink();
  next_piece_ = pieces_.size();
}

void ReadOp::cancel(const Status& why) {
  if (replied_) return;  // the last pages are on their way
  fail(why);
  settle();
}

bool ReadOp::add_hole(uint64_t window_offset, uint64_t length_bytes) {
  if (!holes_.empty()) {
    msg::Range& last = holes_.back();
    if (last.window_offset() + last.length_bytes() == window_offset) {
      last = msg::Range(last.window_offset(), last.length_bytes() + length_bytes);
      return true;
    }
  }
  if (holes_.size() >= kHolesMax) return false;
  holes_.emplace_back(window_offset, length_bytes);
  return true;
}

void ReadOp::end_step(ReadStep& step, bool sent) {
  if (!sent) --steps_unsent_;
  --steps_open_;
  state().read_steps.put(&step);
  settle();
}

// Replies when everything was handed over; ends when nothing is in flight.
void ReadOp::settle() {
  if (!replied_ && !failed() && !pieces_left() && steps_unsent_ == 0) reply();
  if (steps_open_ > 0 || pieces_left()) return;
  if (!replied_) {
    replied_ = true;
    ++state().counters.read_errors_total;
    connection_->reply_error(request_id_, first_error_);
  }
  Connection& connection = *connection_;
  connection.state().read_ops.put(this);
  connection.end(*this);
}

void ReadOp::reply() {
  replied_ = true;
  ServerCounters& counters = state().counters;
  counters.read_hit_bytes_total += hit_bytes_;
  counters.read_miss_bytes_total += miss_bytes_;
  if (holes_.empty()) {
    BodyForm<msg::ReadReply>& form = state().read_reply_form;
    form.set(msg::ReadReply::VT_HIT_BYTES, hit_bytes_);
    form.set(msg::ReadReply::VT_MISS_BYTES, miss_bytes_);
    return connection_->reply(msg::Type::read, request_id_, form.bytes());
  }
  auto& builder = state().reply_builder();
  const auto holes = builder.CreateVectorOfStructs(holes_);
  const auto root = msg::CreateReadReply(builder, holes, hit_bytes_, miss_bytes_);
  connection_->reply(msg::Type::read, request_id_, finish_body(builder, root));
}

}  // namespace gd2fs::server
