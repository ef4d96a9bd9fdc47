#include "client/gpu_straight.h"

#include <algorithm>
#include <cerrno>

namespace gd2fs::client {

GpuStraight::GpuStraight(Loop& loop, Gpu& gpu, MovedBytes& moved, bool required)
    : loop_(loop), gpu_(gpu), moved_(moved), required_(required), pins_(loop, gpu) {
  look_.bind<&GpuStraight::on_look>(this);
  pins_.on_change<&GpuStraight::on_pins>(this);
}

GpuStraight::~GpuStraight() {
  while (look_.pending()) (void)loop_.run_queued();
}

bool GpuStraight::may_go(StraightBatch& batch) {
  return batch.whole() || !busy(batch.target(), batch.direction());
}

void GpuStraight::add(StraightBatch& batch, const StraightPart& part) {
  if (!batch.linked()) waiting_.push_back(batch);
  const bool link_idles = under_way_[{part.target, batch.direction()}] == 0;
  if (link_idles && part.bytes.size() >= kAloneBytes) return go(batch);
  if (may_go(batch)) look_soon();
}

void GpuStraight::go(StraightBatch& batch) {
  batch.unlink();
  batch.issue();
}

void GpuStraight::ended(const GpuCopy& copy, uint64_t length_bytes) {
  under_way_[way(copy)] -= length_bytes;
  if (!waiting_.empty() && !busy(copy.target, copy.direction)) look_soon();
}

// Not at once: what else has arrived in this turn goes along.
void GpuStraight::look_soon() {
  if (!look_.pending()) loop_.complete(look_, Status());
}

void GpuStraight::on_look(Completion&) {
  for (StraightBatch *batch = waiting_.front(), *next; batch != nullptr; batch = next) {
    next = waiting_.next(*batch);
    if (may_go(*batch)) go(*batch);
  }
}

void GpuStraight::on_pins(Completion&) {
  List<StraightPart> parts;
  while (StraightPart* part = parked_.pop_front()) parts.push_back(*part);
  while (StraightPart* part = parts.pop_front()) {
    static_cast<StraightBatch*>(part->batch)->take_parked(*part);
  }
}

// --- one batch ---

StraightBatch::~StraightBatch() {
  CHECK(parts_.empty());
  for (const auto& group : groups_) CHECK(!group->in_use);
}

void StraightBatch::begin(const std::vector<MemorySegment>& segments,
                          GpuCopy::Direction direction) {
  segments_ = &segments;
  direction_ = direction;
  ends_.clear();
  gpu_bytes_ = 0;
  taken_bytes_ = 0;
  uint64_t end = 0;
  for (const MemorySegment& segment : segments) {
    ends_.push_back(end += segment.length_bytes);
    if (segment.target != kHostTarget) gpu_bytes_ += segment.length_bytes;
  }
}

// Calls visit(segment, bytes into it, length) for the parts of a range of the window.
template <class Visit>
void StraightBatch::for_range(uint64_t offset, uint64_t length_bytes, Visit visit) const {
  auto at = static_cast<size_t>(std::ranges::upper_bound(ends_, offset) - ends_.begin());
  while (length_bytes > 0) {
    const MemorySegment& segment = (*segments_)[at];
    const uint64_t within = offset - (ends_[at] - segment.length_bytes);
    const uint64_t take = std::min(length_bytes, segment.length_bytes - within);
    visit(segment, within, take);
    offset += take;
    length_bytes -= take;
    ++at;
  }
}

// kHostTarget: there is none, or not only that.
GpuTarget StraightBatch::only_gpu_of(uint64_t offset, uint64_t length_bytes) const {
  GpuTarget target = kHostTarget;
  bool only = true;
  for_range(offset, length_bytes, [&](const MemorySegment& segment, uint64_t, uint64_t) {
    if (target == kHostTarget) target = segment.target;
    only = only && segment.target == target && target != kHostTarget;
  });
  return only ? target : kHostTarget;
}

Gpu::Access StraightBatch::access() const {
  return direction_ == GpuCopy::Direction::to_gpu ? Gpu::Access::read : Gpu::Access::read_write;
}

bool StraightBatch::take(StraightPart& part) {
  part.batch = this;
  part.begun = false;
  part.target = only_gpu_of(part.offset, part.bytes.size());
  if (part.target == kHostTarget) return false;
  GpuPins& pins = all_.pins();
  part.mapping_number = pins.mapping_of(part.target, part.mapping, access(), part.keeps);
  if (part.mapping_number != 0) {
    add(part);
    return true;
  }
  if (all_.required() && pins.is_coming(part.mapping)) {
    all_.park(part);
    return true;
  }
  if (all_.required() || direction_ == GpuCopy::Direction::from_gpu) refuse(pins.last_failure());
  return false;
}

void StraightBatch::refuse(const Status& why) {
  if (!trouble_.ok()) return;
  trouble_ = Status(StatusCode::unsupported,
                    "GPU memory cannot be reached without a copy: " + why.to_string(), ENOTSUP);
}

void StraightBatch::add(StraightPart& part) {
  parts_.push_back(part);
  taken_bytes_ += part.bytes.size();
  all_.add(*this, part);
}

void StraightBatch::take_parked(StraightPart& part) {
  GpuPins& pins = all_.pins();
  part.mapping_number = pins.mapping_of(part.target, part.mapping, access(), part.keeps);
  if (part.mapping_number != 0) return add(part);
  if (pins.is_coming(part.mapping)) return all_.park(part);
  refuse(pins.last_failure());
  all_.loop().complete(part.done, trouble_);
}

bool StraightBatch::take_back(StraightPart& part) {
  if (part.begun || !part.linked()) return false;
  part.unlink();
  if (part.mapping_number != 0) taken_bytes_ -= part.bytes.size();
  if (parts_.empty()) ListNode<>::unlink();
  return true;
}

StraightBatch::Group& StraightBatch::free_group() {
  for (const auto& group : groups_) {
    if (!group->in_use) return *group;
  }
  Group& made = *groups_.emplace_back(std::make_unique<Group>());
  made.batch = this;
  made.done.bind<&Group::on_done>(&made);
  return made;
}

void StraightBatch::add_pieces(const StraightPart& part, std::vector<GpuPiece>* pieces) const {
  std::byte* host = part.bytes.data();
  for_range(part.offset, part.bytes.size(),
            [&](const MemorySegment& segment, uint64_t within, uint64_t length) {
              pieces->push_back(
                  {host, segment.data + within, length, part.mapping_number, segment.region});
              host += length;
            });
}

// One copy for each GPU among them.
void StraightBatch::issue() {
  while (!parts_.empty()) {
    Group& group = free_group();
    group.in_use = true;
    group.direction = direction_;
    group.target = target();
    group.pieces.clear();
    group.length_bytes = 0;
    for (StraightPart *part = parts_.front(), *next; part != nullptr; part = next) {
      next = parts_.next(*part);
      if (part->target != group.target) continue;
      part->begun = true;
      group.parts.push_back(*part);
      group.length_bytes += part->bytes.size();
      add_pieces(*part, &group.pieces);
    }
    all_.begun(group, group.length_bytes);
    all_.gpu().copy(group);
  }
}

void StraightBatch::on_copied(Group& group, const Status& status) {
  GpuStraight& all = all_;
  group.in_use = false;
  if (direction_ == GpuCopy::Direction::from_gpu) {
    if (status.ok()) all.moved().gpu_straight_write_bytes += group.length_bytes;
    if (!status.ok() && trouble_.ok()) trouble_ = status;
  }
  while (StraightPart* part = group.parts.pop_front()) all.loop().complete(part->done, status);
  all.ended(group, group.length_bytes);
}

}  // namespace gd2fs::client
