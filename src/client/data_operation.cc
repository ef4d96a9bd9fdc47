#include "client/data_operation.h"

#include <algorithm>

#include "client/client.h"

namespace gd2fs::client {

uint32_t use_handle(Link& link, const Layout& layout) {
  const Handles::Use use = link.handles().use(layout.inode, layout.capability_number);
  if (!use.bind) return use.handle;
  flatbuffers::FlatBufferBuilder builder(256);
  const auto capability = builder.CreateVector(
      reinterpret_cast<const uint8_t*>(layout.capability.data()), layout.capability.size());
  const Status told =
      link.tell(msg::Type::bind_handle,
                finish_body(builder, msg::CreateBindHandle(builder, use.handle, capability)));
  // If that fails, the server finds a request without a handle: stale, and we come back.
  if (!told.ok()) link.handles().forget(layout.inode);
  return use.handle;
}

DataOperation::DataOperation(Client& client, Request& request, bool write)
    : Operation(client, request), write_(write) {
  fence_passed_.bind<&DataOperation::on_fence>(this);
  pause_.bind<&DataOperation::on_pause>(this);
  way_given_.bind<&DataOperation::on_way_given>(this);
}

GpuRings& DataOperation::rings() {
  return client_.rings();
}

void DataOperation::await_answer() {
  Loop& loop = client_.loop();
  loop.stay_awake_until(loop.now_ns() + kAnswerNs);
}

uint64_t DataOperation::progress() const {
  uint64_t moved = done_bytes_ + step_;
  for (const auto& batch : in_flight_) moved += batch->moved_bytes();
  return moved;
}

Status DataOperation::trouble() const {
  if (in_flight_.empty()) {
    const Peer& controller = client_.controller();
    return controller.reachable() ? Status() : controller.last_failure();
  }
  for (const auto& batch : in_flight_) {
    const Peer* peer = batch->peer();
    if (peer == nullptr) continue;  // what keeps it is a GPU: nothing was sent yet
    if (Status trouble = peer->trouble(*batch); !trouble.ok()) return trouble;
  }
  return {};
}

Origin DataOperation::waits_for() const {
  return in_flight_.empty() ? Origin::controller : Origin::server;
}

bool DataOperation::quiet() const {
  return !resolving_ && !fence_passed_.pending() && in_flight_.empty() && quiet_own();
}

void DataOperation::stop() {
  client_.loop().cancel(pause_);
  client_.loop().take_back(way_given_);
  if (fence_passed_.pending()) client_.rings().gpu().cancel(*request_.fence);
  if (resolving_) client_.resolver().cancel(*wish_);
  for (const auto& batch : in_flight_) batch->give_up();
  stop_own();
}

// --- the path ---

void DataOperation::start() {
  // The caller's own work on the GPU comes first.
  if (request_.fence == nullptr) return start_after_fence(progress_ns);
  client_.rings().gpu().wait(*request_.fence, fence_passed_);
}

void DataOperation::on_fence(Completion& passed) {
  if (ending()) return;
  if (!passed.status.ok()) return fail(passed.status, Origin::request);
  reached(1);
  start_after_fence(client_.loop().now_ns());
}

void DataOperation::start_after_fence(uint64_t now_ns) {
  born_ = client_.resolver().asked();
  layout_ = client_.layouts().find(request_.path, write_, now_ns);
  if (layout_ == nullptr) return resolve(false, born_);
  begin_with_layout();
}

void DataOperation::begin_with_layout() {
  request_.facts.inode = layout_->inode;
  begin();
}

void DataOperation::resolve(bool fresh, uint64_t after) {
  if (wish_ == nullptr) {
    wish_ = std::make_unique<Resolver::Wish>();
    wish_->done.bind<&DataOperation::on_resolved>(this);
  }
  wish_->path = request_.path;
  wish_->write = write_;
  wish_->fresh = fresh;
  wish_->after = after;
  resolving_ = true;
  client_.resolver().start(*wish_);
}

void DataOperation::on_resolved(Completion&) {
  resolving_ = false;
  if (ending()) return;
  if (!wish_->outcome.ok()) return fail(wish_->outcome, Origin::controller);
  layout_ = wish_->layout;
  stale_ = false;
  reached(1);
  client_.saw_map_version(layout_->map_version);
  if (layout_->type != FileType::file) {
    return fail(Status(StatusCode::invalid, "is a directory", EISDIR), Origin::controller);
  }
  begin_with_layout();
}

void DataOperation::resolve_after_stale() {
  stale_ = true;
  stale_after_ = client_.resolver().asked();
  // Once is normal. A server that insists needs time, not questions.
  if (++stale_rounds_ <= 2) return resolve(true, stale_after_);
  // A new answer did not help: a capability may have been kept, for its right to write, that the
  // server does not take any more.
  layout_->expires_ns = 0;
  client_.loop().start(pause_, std::min<uint64_t>(kMs << std::min(stale_rounds_, 7u), 100 * kMs));
}

void DataOperation::on_pause(Completion&) {
  if (!stale_) return pump();
  // Else the pause was a long batch's: the last one under way starts over.
  if (in_flight_.empty() && !resolving_) resolve(true, stale_after_);
}

void DataOperation::on_way_given(Completion&) {
  // Else the last batch under way starts over.
  if (!stale_) pump();
}

// --- batches ---

void DataOperation::start_batches(uint64_t length_bytes) {
  CHECK(in_flight_.empty());
  client_.loop().take_back(way_given_);
  length_ = length_bytes;
  planned_ = 0;
  plan_.clear();
  next_planned_ = 0;
  pump();
}

// Small ones first: what a large one's answer brings first waits longer for the rest. Then, every
// copy less is 2 us of the link won: neighbours in the slab become one. But lists of small pieces
// take long to make.
uint64_t DataOperation::batch_bytes() const {
  if (write_ || in_flight_.empty()) return kBatchBytes;
  const Batch& other = *in_flight_.front();
  if (!other.on_one_gpu() || other.by_nic()) return kBatchBytes;
  const bool here = other.peer() != nullptr && other.peer()->shares_memory();
  if (!here) return last_batches_bytes();
  const bool large_pieces = other.piece_count() < kLongBatchPieces;
  if (!large_pieces || planned_ < kSmallBatchesBytes) return kBatchBytes;
  // It takes its slots of the ring like any other, which may be one that could not grow.
  const GpuRing& ring = client_.rings().of(request_.memory.first_target());
  return ring.pinned_bytes() >= 2 * kLargeBatchBytes ? kLargeBatchBytes : kBatchBytes;
}

bool DataOperation::ends_with(const Batch& batch) const {
  return length_ - batch.plan.pieces.front().request_offset <= kLastBytes;
}

// Of a read through the ring, each of the last ones half of what is left: nothing is received while
// the last one is copied, and what has just been received is slow to copy (decision 023).
uint64_t DataOperation::last_batches_bytes() const {
  return std::clamp(align_down((length_ - planned_) / 2, GpuRing::kSlotBytes), GpuRing::kSlotBytes,
                    kBatchBytes);
}

// A read into a GPU has as many bytes under way as batches of the usual size would have, so that
// the ring does not grow for it.
bool DataOperation::fills_ring() const {
  if (write_ || in_flight_.empty() || !in_flight_.front()->staged()) return false;
  return bytes_in_flight() >= kRingBytesMax;
}

uint64_t DataOperation::bytes_in_flight() const {
  uint64_t bytes = 0;
  for (const auto& batch : in_flight_) bytes += batch->plan.length_bytes;
  return bytes;
}

// nullptr: nothing is left to plan, or it failed.
Batch* DataOperation::next_batch() {
  if (next_planned_ != plan_.size()) return make_batch(std::move(plan_[next_planned_++]));
  if (planned_ == length_) return nullptr;
  PlanLayout layout{.inode = layout_->inode,
                    .chunk_log2 = layout_->chunk_log2,
                    .group_count = static_cast<uint32_t>(client_.map()->groups.size())};
  PlannedBatch whole;
  if (plan_short(layout, request_.offset, length_, &planned_, &whole)) {
    return make_batch(std::move(whole));
  }
  layout.batch_bytes = batch_bytes();
  plan_.clear();
  next_planned_ = 0;
  const Status planned = plan_stretch(layout, request_.offset, length_, &planned_, &plan_);
  if (planned.ok()) return make_batch(std::move(plan_[next_planned_++]));
  fail(planned, Origin::request);
  return nullptr;
}

Batch* DataOperation::make_batch(PlannedBatch&& planned) {
  const msg::Type type = message_type();
  const bool moves = type == msg::Type::read || type == msg::Type::write;
  return new (client_.blocks())
      Batch(*this, std::move(planned), type, moves ? &request_.memory : nullptr);
}

void DataOperation::pump() {
  if (stale_) {
    if (in_flight_.empty()) start_over();
    return;
  }
  while (in_flight_.size() < kBatchesMax && !gives_way()) {
    if (!parked_.empty()) {
      start_batch(parked_.take_front());
      if (ending()) return;
      continue;
    }
    if (!more_to_start()) {
      if (in_flight_.empty()) on_batches_done();
      return;
    }
    if (fills_ring()) return;
    std::unique_ptr<Batch> batch(next_batch());
    if (batch == nullptr) return;
    start_batch(std::move(batch));
    if (ending()) return;
    if (!in_flight_.empty()) give_way(*in_flight_.back());
  }
}

// To make a long batch takes 20 us, and a short one 2: what the server answered meanwhile has its
// turn before the next. On the way to a GPU each counts, as its link has nothing to do before.
void DataOperation::give_way(const Batch& started) {
  if (!more_to_start() || gives_way()) return;
  Loop& loop = client_.loop();
  if (started.piece_count() >= kLongBatchPieces) {
    loop.start(pause_, 0);
  } else if (!write_ && started.staged()) {
    loop.complete_after_pollers(way_given_, Status());
  }
}

void DataOperation::start_batch(std::unique_ptr<Batch> batch) {
  Peer* peer = client_.primary_of(batch->plan.group);
  if (peer == nullptr) {
    // The map does not name its server yet.
    parked_.push_front(std::move(batch));
    client_.loop().start(pause_, 20 * kMs);
    return;
  }
  if (batch->sequences_of != nullptr && batch->sequences_of != peer) {
    return fail(Status(StatusCode::unavailable, "the chunks have moved to another server"),
                Origin::server);
  }
  in_flight_.push_back(std::move(batch));
  in_flight_.back()->start(*peer);
}

std::unique_ptr<Batch> DataOperation::take(Batch& batch) {
  const auto found = std::find_if(in_flight_.begin(), in_flight_.end(),
                                  [&](const auto& one) { return one.get() == &batch; });
  CHECK(found != in_flight_.end());
  std::unique_ptr<Batch> taken = std::move(*found);
  std::swap(*found, in_flight_.back());
  in_flight_.pop_back();
  return taken;
}

void DataOperation::on_batch_staged(Batch& batch, const Status& status) {
  if (!ending() && status.ok()) return batch.send();
  // NOLINTNEXTLINE(performance-unnecessary-copy-initialization): the batch has it
  const Status why = status;
  const std::unique_ptr<Batch> taken = take(batch);
  if (!ending()) fail(why, Origin::iomem);
}

void DataOperation::on_batch_landed(Batch& batch, const Status& status) {
  // NOLINTNEXTLINE(performance-unnecessary-copy-initialization): the batch has it
  const Status why = status;
  const std::unique_ptr<Batch> taken = take(batch);
  if (ending()) return;
  if (!why.ok()) return fail(why, Origin::iomem);
  count_host_bytes(*taken);
  done_bytes_ += taken->plan.length_bytes;
  stale_rounds_ = 0;
  pump();
}

void DataOperation::count_host_bytes(const Batch& batch) {
  if (batch.window == nullptr) return;  // no bytes moved
  MovedBytes& moved = client_.moved();
  const uint64_t host = batch.host_bytes();
  (write_ ? moved.host_write_bytes : moved.host_read_bytes) += host;
  if (!batch.by_nic()) return;
  (write_ ? moved.gpu_nic_write_bytes : moved.gpu_nic_read_bytes) += batch.plan.length_bytes - host;
}

void DataOperation::on_batch_done(Batch& ended) {
  if (ended.by_nic() && !ending()) {
    const Batch::ByNic next = ended.end_by_nic();
    if (next == Batch::ByNic::again) return ended.start(*ended.sequences_of);
    if (next == Batch::ByNic::through_ring) return ended.detour();
  } else if (!write_ && ended.staged() && ended.outcome.ok() && !ending()) {
    ended.outcome = on_batch_ok(ended);  // fills the holes, too
    if (ended.outcome.ok()) return ended.land();
  }
  if (ended.needs_detour() && !ending() && !rings().straight().required()) return ended.detour();
  if (ended.moving_on()) return ended.settle();  // and here again
  std::unique_ptr<Batch> batch = take(ended);
  batch->release_staging();
  if (ending()) return;
  if (batch->outcome.is(StatusCode::stale)) {
    stale_ = true;
    if (Peer* peer = client_.primary_of(batch->plan.group)) peer->forget_handle(layout_->inode);
    on_batch_stale(std::move(batch));
  } else if (!batch->trouble().ok()) {
    return fail(batch->trouble(), Origin::iomem);
  } else if (!batch->outcome.ok()) {
    return fail(batch->outcome, Origin::server);
  } else {
    const Status taken = on_batch_ok(*batch);
    if (!taken.ok()) return fail(taken, Origin::server);
    count_host_bytes(*batch);
    done_bytes_ += batch->plan.length_bytes;
    stale_rounds_ = 0;
  }
  pump();
}

}  // namespace gd2fs::client
