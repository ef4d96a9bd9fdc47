#include "client/staging.h"

#include <algorithm>

namespace gd2fs::client {

bool needs_staging(std::span<const MemorySegment> segments) {
  return std::ranges::any_of(segments, [](const auto& one) { return one.target != kHostTarget; });
}

// --- the rings ---

GpuRings::~GpuRings() {
  worker_.reset();  // ends what it pins
}

GpuRing& GpuRings::of(GpuTarget target) {
  auto& ring = rings_[target];
  if (ring == nullptr) {
    if (worker_ == nullptr) worker_ = std::make_unique<ThreadWorker>("gd2fs-pin");
    ring = std::make_unique<GpuRing>(loop_, gpu_, *worker_, target, ring_max_bytes_, fabric_);
  }
  return *ring;
}

uint64_t GpuRings::pinned_bytes() const {
  uint64_t bytes = 0;  // the ring's; what is shared is the server's
  for (const auto& [target, ring] : rings_) bytes += ring->pinned_bytes();
  return bytes;
}

bool GpuRings::nics_reach(std::span<const MemorySegment> segments) const {
  return nics_reach_ != nullptr && std::ranges::all_of(segments, [&](const MemorySegment& one) {
           return one.target == kHostTarget || nics_reach_(one);
         });
}

void GpuRings::doubt_nics(std::span<const MemorySegment> segments) const {
  if (doubt_nics_ == nullptr) return;
  for (const MemorySegment& segment : segments) {
    if (segment.target != kHostTarget) doubt_nics_(segment);
  }
}

Status GpuRings::see_nic_writes(std::span<const MemorySegment> segments) {
  GpuTarget last = kHostTarget;
  for (const MemorySegment& segment : segments) {
    if (segment.target == kHostTarget || segment.target == last) continue;
    last = segment.target;
    GD2FS_TRY(gpu_.see_nic_writes(last));
  }
  return {};
}

// --- one batch ---

Staging::Staging(GpuRings& rings) : rings_(rings), straight_(rings.straight()) {
  wish_.done.bind<&Staging::on_slots>(this);
}

uint64_t Staging::place(uint64_t ring_offset, const MemorySegment& segment) {
  constexpr uint64_t kWord = 16;
  const auto gpu = reinterpret_cast<uint64_t>(segment.data);
  return ring_offset + ((gpu - ring_offset) & (kWord - 1));
}

void Staging::begin(std::span<const MemorySegment> segments, Window::Direction direction,
                    Completion& ready) {
  look_at(segments, direction);
  ready.start();
  ready_ = &ready;
  ring_->take(wish_);
}

bool Staging::begin_now(std::span<const MemorySegment> segments) {
  look_at(segments, Window::Direction::sink);
  if (!ring_->take_now(wish_)) return false;
  lay_out();
  return true;
}

// How many slots of which ring are needed.
void Staging::look_at(std::span<const MemorySegment> segments, Window::Direction direction) {
  CHECK(ready_ == nullptr && wish_.slots.empty() && moving_on_ == 0);
  segments_.assign(segments.begin(), segments.end());
  direction_ = direction;
  uint64_t bytes = 0;
  ring_ = nullptr;
  for (const MemorySegment& segment : segments_) {
    if (segment.target == kHostTarget) continue;
    if (ring_ == nullptr) ring_ = &rings_.of(segment.target);
    bytes = place(bytes, segment) + segment.length_bytes;
  }
  arrived_.clear();
  straight_.begin(segments_, direction == Window::Direction::sink ? GpuCopy::Direction::to_gpu
                                                                  : GpuCopy::Direction::from_gpu);
  wish_.slot_count = (bytes + GpuRing::kSlotBytes - 1) / GpuRing::kSlotBytes;
}

void Staging::begin_straight(std::span<const MemorySegment> segments) {
  CHECK(ready_ == nullptr && wish_.slots.empty());
  segments_.assign(segments.begin(), segments.end());
  direction_ = Window::Direction::source;
  window_ = segments_;
  ring_ = nullptr;
  copies_.clear();
  straight_.begin(segments_, GpuCopy::Direction::from_gpu);
}

bool Staging::on_one_gpu(std::span<const MemorySegment> segments) {
  const GpuTarget target = segments.front().target;
  return target != kHostTarget && std::ranges::all_of(segments, [&](const MemorySegment& segment) {
           return segment.target == target;
         });
}

bool Staging::may_go_straight(std::span<const MemorySegment> segments, const SharedStaging& into) {
  if (into.memory.empty() || !on_one_gpu(segments)) return false;
  const GpuTarget target = segments.front().target;
  GpuStraight& straight = rings_.straight();
  constexpr auto kWritten = Gpu::Access::read_write;
  return straight.pins().mapping_of(target, into.memory, kWritten, into.keeps) != 0 ||
         straight.required();
}

void Staging::on_slots(Completion& done) {
  Completion& ready = *std::exchange(ready_, nullptr);
  if (!done.status.ok()) return rings_.loop().complete(ready, done.status);
  lay_out();
  if (direction_ == Window::Direction::source) {
    rings_.straight().moved().gpu_ring_write_bytes += ring_bytes();
    return copy_all(GpuCopy::Direction::from_gpu, ready);
  }
  rings_.loop().complete(ready, Status());
}

// The window as the network sees it, and for each GPU the list of copies.
void Staging::lay_out() {
  window_.clear();
  copies_.clear();
  uint64_t at = 0;
  uint64_t window_offset = 0;
  for (const MemorySegment& segment : segments_) {
    if (segment.target == kHostTarget) {
      window_.push_back(segment);
      window_offset += segment.length_bytes;
      continue;
    }
    at = place(at, segment);
    for (uint64_t done = 0; done < segment.length_bytes;) {
      const GpuRing::Slot& slot = wish_.slots[at / GpuRing::kSlotBytes];
      const uint64_t within = at % GpuRing::kSlotBytes;
      const uint64_t take = std::min(segment.length_bytes - done, GpuRing::kSlotBytes - within);
      std::byte* host = slot.data + within;
      Copy& copy = copies_[segment.target];
      copy.pieces.push_back({host, segment.data + done, take, slot.mapping, segment.region});
      copy.window_offsets.push_back(window_offset);
      window_offset += take;
      MemorySegment* last = window_.empty() ? nullptr : &window_.back();
      if (last != nullptr && last->target == kHostTarget &&
          last->data + last->length_bytes == host) {
        last->length_bytes += take;
      } else {
        window_.push_back({host, take});
      }
      done += take;
      at += take;
    }
  }
}

void Staging::copy_all(GpuCopy::Direction direction, Completion& done) {
  const auto left =
      std::ranges::count_if(copies_, [](const auto& one) { return !one.second.pieces.empty(); });
  if (left == 0) return rings_.loop().complete(done, Status());
  join_.reset(done);
  join_.add(static_cast<uint32_t>(left));
  for (auto& [target, copy] : copies_) {
    if (copy.pieces.empty()) continue;
    copy.direction = direction;
    copy.target = target;
    copy.done.bind<&Staging::on_copied>(this);
    rings_.gpu().copy(copy);
  }
}

void Staging::on_copied(Completion& done) {
  join_.done(rings_.loop(), done.status);
}

void Staging::begin_sending(bool goes_on) {
  arrived_.clear();
  hold_back();
  straight_.begin_sending();
  ++sending_;
  goes_on_ = goes_on && moving_on_ == 0 && direction_ == Window::Direction::sink &&
             straight_.joins() && on_one_gpu(segments_);
  if (moving_on_ == 0) ring_parts_.clear();
  if (goes_on_) together_.assign(align_up(straight_.gpu_bytes(), kMoveOnBytes) / kMoveOnBytes, 0);
}

// What has not begun to move on.
void Staging::hold_back() {
  for (const auto& part : ring_parts_) {
    if (straight_.take_back(*part)) --moving_on_;
  }
}

void Staging::arrived(uint64_t offset, uint64_t length_bytes) {
  rings_.straight().moved().gpu_straight_read_bytes += length_bytes;
  arrived_.push_back({offset, length_bytes});
}

// While something of an earlier sending is on its way nobody knows which of two copies the GPU
// would have last: then all waits for land().
bool Staging::take(StraightPart& part) {
  if (moving_on_ > 0 && !goes_on_) return false;
  return straight_.take(part);
}

void Staging::landed(uint64_t offset, uint64_t length_bytes) {
  if (!goes_on_) return;
  const uint64_t all = straight_.gpu_bytes();  // the whole window is one GPU's
  for (uint64_t end = offset + length_bytes; offset < end;) {
    const uint64_t begin = align_down(offset, kMoveOnBytes);
    const uint64_t whole = std::min(kMoveOnBytes, all - begin);
    const uint64_t take = std::min(end, begin + whole) - offset;
    uint64_t& together = together_[begin / kMoveOnBytes];
    together += take;
    if (together == whole) move_on(begin, whole);
    offset += take;
  }
}

void Staging::move_on(uint64_t offset, uint64_t length_bytes) {
  const Copy& copy = copies_.begin()->second;
  const auto& offsets = copy.window_offsets;
  auto at = static_cast<size_t>(std::ranges::upper_bound(offsets, offset) - offsets.begin()) - 1;
  for (; length_bytes > 0; ++at) {
    const GpuPiece& piece = copy.pieces[at];
    const uint64_t within = offset - offsets[at];
    const uint64_t take = std::min(length_bytes, piece.length_bytes - within);
    RingPart& part = *ring_parts_.emplace_back(std::make_unique<RingPart>());
    part.staging = this;
    part.sending = sending_;
    part.offset = offset;
    part.bytes = {piece.host + within, take};
    part.mapping_number = piece.mapping;
    part.done.bind<&RingPart::on_done>(&part);
    ++moving_on_;
    straight_.take_from_ring(part);
    offset += take;
    length_bytes -= take;
  }
}

// What could not be copied is copied once more by land(), which says what is wrong.
void Staging::on_moved_on(const RingPart& part, const Status& status) {
  if (status.ok() && part.sending == sending_) {
    const uint64_t length_bytes = part.bytes.size();
    rings_.straight().moved().gpu_ring_read_bytes += length_bytes;
    arrived_.push_back({part.offset, length_bytes});
  }
  if (--moving_on_ > 0) return;
  if (settled_ != nullptr) rings_.loop().complete(*std::exchange(settled_, nullptr), Status());
  if (landed_ != nullptr) land_rest();
}

// Takes out of the last step what has arrived by itself, which those parts of the ring may never
// have been filled with, and what has gone on.
void Staging::skip_arrived() {
  std::ranges::sort(arrived_, {}, &Range::offset);
  for (auto& [target, copy] : copies_) {
    std::vector<GpuPiece> left;
    auto range = arrived_.begin();  // both go up
    for (size_t i = 0; i < copy.pieces.size(); ++i) {
      const GpuPiece& piece = copy.pieces[i];
      const uint64_t begin = copy.window_offsets[i];
      const uint64_t end = begin + piece.length_bytes;
      const auto keep = [&](uint64_t from, uint64_t to) {
        if (from >= to) return;
        left.push_back({piece.host + (from - begin), piece.gpu + (from - begin), to - from,
                        piece.mapping, piece.region});
      };
      while (range != arrived_.end() && range->offset + range->length_bytes <= begin) ++range;
      uint64_t at = begin;
      for (auto next = range; next != arrived_.end() && next->offset < end; ++next) {
        keep(at, next->offset);
        at = std::max(at, next->offset + next->length_bytes);
      }
      keep(at, end);
    }
    copy.pieces = std::move(left);
  }
}

void Staging::land(Completion& landed) {
  landed.start();
  goes_on_ = false;  // nothing lands any more
  landed_ = &landed;
  if (moving_on_ == 0) land_rest();
}

void Staging::land_rest() {
  Completion& landed = *std::exchange(landed_, nullptr);
  if (!trouble().ok()) return rings_.loop().complete(landed, trouble());
  if (!arrived_.empty()) skip_arrived();
  rings_.straight().moved().gpu_ring_read_bytes += ring_bytes();
  copy_all(GpuCopy::Direction::to_gpu, landed);
}

void Staging::settle(Completion& settled) {
  settled.start();
  hold_back();
  if (moving_on_ == 0) return rings_.loop().complete(settled, Status());
  settled_ = &settled;
}

uint64_t Staging::ring_bytes() const {
  uint64_t bytes = 0;
  for (const auto& [target, copy] : copies_) {
    for (const GpuPiece& piece : copy.pieces) bytes += piece.length_bytes;
  }
  return bytes;
}

void Staging::cancel() {
  if (ring_ != nullptr) ring_->cancel(wish_);
}

void Staging::release() {
  CHECK(moving_on_ == 0);
  if (ring_ != nullptr) ring_->put(&wish_.slots);
}

}  // namespace gd2fs::client
