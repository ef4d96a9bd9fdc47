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
  const Lane& lane = lanes_[{batch.target(), batch.direction()}];
  return batch.whole() || lane.batches.bytes < kAheadBytes;
}

void GpuStraight::add(StraightBatch& batch, StraightPart& part) {
  const Way way{part.target, batch.direction()};
  Lane& lane = lanes_[way];
  const Rules& rules = rules_of(way, part);
  const Account& under_way = batch.joins() ? lane.joined : lane.batches;
  const bool at_once = under_way.bytes == 0 && part.bytes.size() >= rules.alone_bytes;
  if (batch.joins()) {
    lane.parts.push_back(part);
    if (at_once) return join(way, lane);
    if (lane.may_go(rules)) look_soon();
    return;
  }
  batch.wait(part);
  if (!batch.linked()) waiting_.push_back(batch);
  if (at_once) return go(batch);
  if (may_go(batch)) look_soon();
}

void GpuStraight::expect(GpuTarget target, GpuCopy::Direction direction) {
  Lane& lane = lanes_[{target, direction}];
  const uint64_t now_ns = loop_.now_ns();
  if (lane.joined.copies + lane.batches.copies > 0 || now_ns < lane.awake_ns + kPauseNs) return;
  lane.awake_ns = now_ns;
  gpu_.expect(target);
}

void GpuStraight::go(StraightBatch& batch) {
  batch.unlink();
  batch.issue();
}

void GpuStraight::go(const Way& way, Lane& lane) {
  while (!lane.parts.empty() && lane.may_go(rules_of(way, *lane.parts.front()))) join(way, lane);
}

// What waits becomes one copy, as far as the rules allow.
void GpuStraight::join(const Way& way, Lane& lane) {
  const Rules& rules = rules_of(way, *lane.parts.front());
  Group& group = begin(way.first, way.second);
  group.bulk = true;
  const void* const newest = lane.parts.back()->batch;
  const bool leaves_newest = rules.leaves_newest && lane.parts.front()->batch != newest;
  while (StraightPart* part = lane.parts.front()) {
    if (leaves_newest && part->batch == newest) break;
    const uint64_t joined_bytes = group.length_bytes + part->bytes.size();
    if (!group.parts.empty() && joined_bytes > rules.joined_max_bytes) break;
    part->unlink();
    static_cast<StraightBatch*>(part->batch)->put(*part, group);
  }
  issue(group);
}

// Not at once: what else has arrived in this turn goes along.
void GpuStraight::look_soon() {
  if (!look_.pending()) loop_.complete(look_, Status());
}

void GpuStraight::on_look(Completion&) {
  for (auto& [way, lane] : lanes_) go(way, lane);
  for (StraightBatch *batch = waiting_.front(), *next; batch != nullptr; batch = next) {
    next = waiting_.next(*batch);
    if (may_go(*batch)) go(*batch);
  }
}

GpuStraight::Group& GpuStraight::unused_group() {
  for (const auto& group : groups_) {
    if (!group->in_use) return *group;
  }
  Group& made = *groups_.emplace_back(std::make_unique<Group>());
  made.all = this;
  made.done.bind<&Group::on_done>(&made);
  return made;
}

GpuStraight::Group& GpuStraight::begin(GpuTarget target, GpuCopy::Direction direction) {
  Group& group = unused_group();
  group.in_use = true;
  group.direction = direction;
  group.target = target;
  group.bulk = false;
  group.by_engine = false;
  group.pieces.clear();
  group.length_bytes = 0;
  return group;
}

void GpuStraight::issue(Group& group) {
  if (group.parts.empty()) {
    group.in_use = false;
    return;
  }
  Account& account = lanes_[{group.target, group.direction}].of(group);
  account.bytes += group.length_bytes;
  ++account.copies;
  gpu_.copy(group);
}

// The link comes first: whoever waits for the parts has time until their last one has ended.
void GpuStraight::on_copied(Group& group) {
  const Way way{group.target, group.direction};
  Lane& lane = lanes_[way];
  Account& account = lane.of(group);
  account.bytes -= group.length_bytes;
  --account.copies;
  lane.awake_ns = loop_.now_ns();
  go(way, lane);
  if (group.direction == GpuCopy::Direction::from_gpu) {
    loop_.stay_awake_until(lane.awake_ns + kAskedNs);
  }
  if (!waiting_.empty() && lane.batches.bytes < kAheadBytes) look_soon();
  if (retry_apart(group)) return;
  while (StraightPart* part = group.parts.pop_front()) {
    static_cast<StraightBatch*>(part->batch)->copied(*part, group.done.status);
  }
  group.in_use = false;
}

// The memory of one request is not to fail another's: what was joined goes once more, each batch by
// itself. (A read that fails here takes the ring.)
bool GpuStraight::retry_apart(Group& group) {
  if (group.done.status.ok() || group.direction == GpuCopy::Direction::to_gpu) return false;
  const void* const first = group.parts.front()->batch;
  StraightPart* other = group.parts.front();
  while (other != nullptr && other->batch == first) other = group.parts.next(*other);
  if (other == nullptr) return false;
  const Way way{group.target, group.direction};
  while (!group.parts.empty()) {
    const void* const one = group.parts.front()->batch;
    Group& apart = begin(way.first, way.second);
    apart.bulk = true;
    for (StraightPart *part = group.parts.front(), *next; part != nullptr; part = next) {
      next = group.parts.next(*part);
      if (part->batch != one) continue;
      part->unlink();
      static_cast<StraightBatch*>(part->batch)->put_again(*part, apart);
    }
    issue(apart);
  }
  group.in_use = false;
  return true;
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
  CHECK(parts_.empty() && under_way_ == 0);
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
  joins_ = may_join();
}

// Many short pieces on their way in make good copies by themselves, and take long to be told of one
// by one. On their way out it is the server's slots that are told of, whatever pieces are in them.
bool StraightBatch::may_join() const {
  if (gpu_bytes_ < GpuStraight::kJoinedMinBytes) return false;
  return direction_ == GpuCopy::Direction::from_gpu ||
         gpu_bytes_ >= segments_->size() * GpuStraight::kToGpu.alone_bytes;
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
  if (find_mapping(part)) {
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

void StraightBatch::take_from_ring(StraightPart& part) {
  part.batch = this;
  part.begun = false;
  part.target = only_gpu_of(part.offset, part.bytes.size());
  add(part);
}

bool StraightBatch::find_mapping(StraightPart& part) {
  if (part.mapping.empty()) return true;  // the ring's own, pinned as long as it is
  part.mapping_number = all_.pins().mapping_of(part.target, part.mapping, access(), part.keeps);
  return part.mapping_number != 0;
}

void StraightBatch::refuse(const Status& why) {
  if (!trouble_.ok()) return;
  trouble_ = Status(StatusCode::unsupported,
                    "GPU memory cannot be reached without a copy: " + why.to_string(), ENOTSUP);
}

void StraightBatch::add(StraightPart& part) {
  taken_bytes_ += part.bytes.size();
  all_.add(*this, part);
}

void StraightBatch::take_parked(StraightPart& part) {
  GpuPins& pins = all_.pins();
  if (find_mapping(part)) return add(part);
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

// One copy for each GPU among them.
void StraightBatch::issue() {
  while (!parts_.empty()) {
    GpuStraight::Group& group = all_.begin(target(), direction_);
    for (StraightPart *part = parts_.front(), *next; part != nullptr; part = next) {
      next = parts_.next(*part);
      if (part->target != group.target) continue;
      part->unlink();
      put(*part, group);
    }
    all_.issue(group);
  }
}

void StraightBatch::put_again(StraightPart& part, GpuStraight::Group& group) {
  --under_way_;
  put(part, group);
}

// Asked for again: since it was taken the context may have gone that its memory was pinned with,
// which may be another GPU's.
void StraightBatch::put(StraightPart& part, GpuStraight::Group& group) {
  if (!find_mapping(part)) {
    GpuPins& pins = all_.pins();
    const Status lost(StatusCode::io, "its memory is not pinned any more", EIO);
    if (all_.required() && pins.is_coming(part.mapping)) {
      taken_bytes_ -= part.bytes.size();
      return all_.park(part);
    }
    if (all_.required() || direction_ == GpuCopy::Direction::from_gpu) refuse(lost);
    return all_.loop().complete(part.done, lost);
  }
  part.begun = true;
  if (part.mapping.empty()) group.by_engine = true;  // stripes out of the ring
  ++under_way_;
  group.parts.push_back(part);
  group.length_bytes += part.bytes.size();
  std::byte* host = part.bytes.data();
  for_range(part.offset, part.bytes.size(),
            [&](const MemorySegment& segment, uint64_t within, uint64_t length) {
              group.pieces.push_back(
                  {host, segment.data + within, length, part.mapping_number, segment.region});
              host += length;
            });
}

void StraightBatch::copied(StraightPart& part, const Status& status) {
  --under_way_;
  if (direction_ == GpuCopy::Direction::from_gpu) {
    if (status.ok()) all_.moved().gpu_straight_write_bytes += part.bytes.size();
    if (!status.ok() && trouble_.ok()) trouble_ = status;
  }
  all_.loop().complete(part.done, status);
}

}  // namespace gd2fs::client
