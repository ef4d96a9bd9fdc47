#include "client/batch.h"

#include <algorithm>

#include "client/client.h"
#include "client/data_operation.h"

namespace gd2fs::client {

Batch::Batch(DataOperation& owner, PlannedBatch&& planned, msg::Type message_type,
             const MemoryList* list)
    : operation(owner), plan(std::move(planned)) {
  type = message_type;
  memory.direction = type == msg::Type::write ? Window::Direction::source : Window::Direction::sink;
  if (list != nullptr) window = &memory;
  if (owner.lends_) memory.lent = &lent;
  done.bind<&Batch::on_done>(this);
  map_memory(list);
}

Batch::OnGpu::OnGpu(Batch& batch) : staging(batch.operation.rings()) {
  staged.bind<&Batch::on_staged>(&batch);
  landed.bind<&Batch::on_landed>(&batch);
  settled.bind<&Batch::on_settled>(&batch);
}

void Batch::map_memory(const MemoryList* list) {
  memory.segments.clear();
  plan.length_bytes = 0;
  for (const Piece& piece : plan.pieces) {
    if (list != nullptr) list->slice(piece.request_offset, piece.length_bytes, &memory.segments);
    plan.length_bytes += piece.length_bytes;
  }
  credit_bytes = list != nullptr ? plan.length_bytes : 0;
  if (!needs_staging(memory.segments)) return leave_gpu();
  if (gpu_ == nullptr) gpu_ = std::make_unique<OnGpu>(*this);
  gpu_->targets.assign(memory.segments.begin(), memory.segments.end());
  memory.segments.clear();
}

// None of its memory is a GPU's, or none of what is left.
void Batch::leave_gpu() {
  if (gpu_ == nullptr) return;
  gpu_.reset();
  memory.straight = nullptr;
  elsewhere = false;
}

void Batch::start(Peer& peer) {
  sequences_of = &peer;
  if (gpu_ == nullptr) return peer.start(*this);
  gpu_->wrong_link = false;
  gpu_->by_nic = goes_by_nic(peer);
  elsewhere = gpu_->by_nic;
  if (gpu_->by_nic) {
    gpu_->straight_source = false;
    memory.segments.assign(gpu_->targets.data(), gpu_->targets.size());
    memory.straight = nullptr;
    return peer.start(*this);
  }
  gpu_->straight_source = goes_straight(peer);
  if (gpu_->straight_source) {
    gpu_->staging.begin_straight(gpu_->targets);
    return send();
  }
  const bool is_sink = memory.direction == Window::Direction::sink;
  // At once if it can be: the server begins while the request's other batches are made.
  if (is_sink && gpu_->staging.begin_now(gpu_->targets)) return send();
  gpu_->staging.begin(gpu_->targets, memory.direction, gpu_->staged);
}

// What is short travels in the message itself.
bool Batch::goes_straight(const Peer& peer) {
  if (memory.direction == Window::Direction::sink || gpu_->through_ring) return false;
  if (plan.length_bytes <= kEagerMaxBytes) return false;
  const auto all = peer.staging();
  // Nothing is connected yet: only what is required is waited for.
  if (all.empty()) {
    return operation.rings().straight().required() && Staging::on_one_gpu(gpu_->targets);
  }
  return std::ranges::all_of(all, [&](const SharedStaging& one) {
    return gpu_->staging.may_go_straight(gpu_->targets, one);
  });
}

void Batch::detour() {
  gpu_->through_ring = true;
  start(*sequences_of);
}

void Batch::send() {
  memory.segments.assign(gpu_->staging.window().data(), gpu_->staging.window().size());
  const bool straight = gpu_->straight_source || memory.direction == Window::Direction::sink;
  memory.straight = straight ? &gpu_->staging : nullptr;
  if (straight) operation.await_answer();
  GpuStraight& copies = operation.rings().straight();
  const bool copies_follow = straight && plan.length_bytes >= GpuStraight::kJoinedMinBytes &&
                             on_one_gpu() && sequences_of->shares_memory();
  const GpuTarget target = copies_follow ? gpu_->targets.front().target : kHostTarget;
  const auto direction =
      gpu_->straight_source ? GpuCopy::Direction::from_gpu : GpuCopy::Direction::to_gpu;
  sequences_of->start(*this);
  if (copies_follow) copies.expect(target, direction);  // while the server looks for the bytes
}

void Batch::land() {
  gpu_->staging.land(gpu_->landed);
}

void Batch::settle() {
  gpu_->staging.settle(gpu_->settled);
}

void Batch::give_up() {
  if (staged()) gpu_->staging.cancel();
  cancel();
}

void Batch::on_staged(Completion& staged) {
  operation.on_batch_staged(*this, staged.status);
}

void Batch::on_landed(Completion& landed) {
  operation.on_batch_landed(*this, landed.status);
}

void Batch::on_settled(Completion&) {
  operation.on_batch_done(*this);
}

bool Batch::drop_pieces(const std::vector<bool>& done_pieces, const MemoryList& list) {
  size_t kept = 0;
  for (size_t i = 0; i < plan.pieces.size(); ++i) {
    if (done_pieces[i]) {
      sequences_of->end_sequence(sequences[i]);
      continue;
    }
    plan.pieces[kept] = plan.pieces[i];
    sequences[kept++] = sequences[i];
  }
  plan.pieces.shrink(kept);
  sequences.resize(kept);
  map_memory(&list);
  return kept > 0;
}

Batch::~Batch() {
  for (const uint64_t sequence : sequences) sequences_of->end_sequence(sequence);
}

Result<ConstBytes> Batch::compose(Link& link, flatbuffers::FlatBufferBuilder& builder) {
  const bool staging = staged() && !gpu_->by_nic;
  memory.around_caches = staging && operation.ends_with(*this);
  if (staging) gpu_->staging.begin_sending(memory.around_caches);
  lent.clear();  // of an earlier try
  if (by_nic() && !link.by_nic()) {
    return gd2fs::fail(StatusCode::unavailable, "this connection is not one between NICs");
  }
  if (staged() && gpu_->straight_source &&
      !gpu_->staging.may_go_straight(gpu_->targets, link.staging())) {
    gpu_->wrong_link = true;
    return gd2fs::fail(StatusCode::unavailable, "GPU memory cannot be read by this connection");
  }
  return operation.compose(*this, link, builder);
}

void Batch::on_done(Completion&) {
  operation.on_batch_done(*this);
}

uint64_t Batch::host_bytes() const {
  if (!staged()) return plan.length_bytes;
  uint64_t bytes = 0;
  for (const MemorySegment& segment : gpu_->targets) {
    if (segment.target == kHostTarget) bytes += segment.length_bytes;
  }
  return bytes;
}

void Batch::release_staging() {
  if (staged()) gpu_->staging.release();
}

}  // namespace gd2fs::client
