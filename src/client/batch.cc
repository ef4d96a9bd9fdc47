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
  on_staging_.bind<&Batch::on_staged>(this);
  on_landing_.bind<&Batch::on_landed>(this);
  map_memory(list);
  if (!targets_.empty()) staging_ = std::make_unique<Staging>(owner.rings());
}

void Batch::map_memory(const MemoryList* list) {
  memory.segments.clear();
  plan.length_bytes = 0;
  for (const Piece& piece : plan.pieces) {
    if (list != nullptr) list->slice(piece.request_offset, piece.length_bytes, &memory.segments);
    plan.length_bytes += piece.length_bytes;
  }
  credit_bytes = list != nullptr ? plan.length_bytes : 0;
  if (!needs_staging(memory.segments)) return;
  targets_.assign(memory.segments.begin(), memory.segments.end());
  memory.segments.clear();
}

void Batch::start(Peer& peer) {
  sequences_of = &peer;
  if (staging_ == nullptr) return peer.start(*this);
  wrong_link_ = false;
  by_nic_ = goes_by_nic(peer);
  elsewhere = by_nic_;
  if (by_nic_) {
    straight_source_ = false;
    memory.segments.assign(targets_.data(), targets_.size());
    memory.straight = nullptr;
    return peer.start(*this);
  }
  straight_source_ = goes_straight(peer);
  if (straight_source_) {
    staging_->begin_straight(targets_);
    return send();
  }
  const bool is_sink = memory.direction == Window::Direction::sink;
  // At once if it can be: the server begins while the request's other batches are made.
  if (is_sink && staging_->begin_now(targets_)) return send();
  staging_->begin(targets_, memory.direction, on_staging_);
}

// What is short travels in the message itself.
bool Batch::goes_straight(const Peer& peer) {
  if (memory.direction == Window::Direction::sink || through_ring_) return false;
  if (plan.length_bytes <= kEagerMaxBytes) return false;
  const auto all = peer.staging();
  // Nothing is connected yet: only what is required is waited for.
  if (all.empty()) {
    return operation.rings().straight().required() && Staging::on_one_gpu(targets_);
  }
  return std::ranges::all_of(
      all, [&](const SharedStaging& one) { return staging_->may_go_straight(targets_, one); });
}

void Batch::detour() {
  through_ring_ = true;
  start(*sequences_of);
}

void Batch::send() {
  memory.segments.assign(staging_->window().data(), staging_->window().size());
  const bool straight = straight_source_ || memory.direction == Window::Direction::sink;
  memory.straight = straight ? staging_.get() : nullptr;
  if (memory.direction == Window::Direction::sink) operation.await_answer();
  sequences_of->start(*this);
}

void Batch::land() {
  staging_->land(on_landing_);
}

void Batch::give_up() {
  if (staging_ != nullptr) staging_->cancel();
  cancel();
}

void Batch::on_staged(Completion& staged) {
  operation.on_batch_staged(*this, staged.status);
}

void Batch::on_landed(Completion& landed) {
  operation.on_batch_landed(*this, landed.status);
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
  if (staging_ != nullptr && !by_nic_) staging_->begin_sending();
  lent.clear();  // of an earlier try
  if (by_nic_ && !link.by_nic()) {
    return gd2fs::fail(StatusCode::unavailable, "this connection is not one between NICs");
  }
  if (straight_source_ && !staging_->may_go_straight(targets_, link.staging())) {
    wrong_link_ = true;
    return gd2fs::fail(StatusCode::unavailable, "GPU memory cannot be read by this connection");
  }
  return operation.compose(*this, link, builder);
}

void Batch::on_done(Completion&) {
  operation.on_batch_done(*this);
}

uint64_t Batch::host_bytes() const {
  if (staging_ == nullptr) return plan.length_bytes;
  uint64_t bytes = 0;
  for (const MemorySegment& segment : targets_) {
    if (segment.target == kHostTarget) bytes += segment.length_bytes;
  }
  return bytes;
}

void Batch::release_staging() {
  if (staging_ != nullptr) staging_->release();
}

}  // namespace gd2fs::client
