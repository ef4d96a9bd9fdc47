// The server's end of shared memory: grants and their leases, staging slots.
#include <algorithm>
#include <utility>

#include "base/cores.h"
#include "base/crc32c.h"
#include "base/huge_map.h"
#include "fabric/shm_session.h"
#include "fabric/stripes.h"

namespace gd2fs {
namespace {

// A helper would take the one that the client copies with.
bool has_two_cores() {
  return usable_cores() <= 2;
}

// What goes through the ring goes as over TCP.
void know_crc(Push& push) {
  if (!std::exchange(push.has_crc, true)) push.crc = crc32c(push.bytes);
}

Status violation(std::string_view what) {
  return {StatusCode::invalid, what};
}

}  // namespace

ShmServerSession::ShmServerSession(Loop& loop, const TcpOptions& options, SlicePool& copies,
                                   HugePageTaker& pages, Peer peer, uint64_t number,
                                   std::string session_key)
    : TcpSession(loop, options, std::move(peer), number, 1, std::move(session_key)),
      copies_(copies),
      pages_(pages) {
  lease_.bind<&ShmServerSession::on_lease>(this);
  for (uint16_t slot = kStagingSlots; slot > 0; --slot) {
    slots_[slot - 1].number = slot - 1;
    slots_[slot - 1].bind<&ShmServerSession::on_staged>(this);
    free_slots_.push_back(slot - 1);
  }
}

ShmServerSession::~ShmServerSession() {
  end_copies([](const Slot&) { return true; });
}

Status ShmServerSession::make_memory(Descriptor* segment, Descriptor* staging) {
  GD2FS_ASSIGN(*segment, make_shared_memory("gd2fs-rings", ShmSegment::kTotalBytes));
  GD2FS_ASSIGN(*staging, make_shared_memory("gd2fs-staging", kStagingBytes));
  GD2FS_ASSIGN(segment_.memory, SharedMapping::map(segment->fd(), ShmSegment::kTotalBytes,
                                                   SharedMapping::Access::read_write));
  GD2FS_ASSIGN(SharedMapping mapped,
               SharedMapping::map(staging->fd(), kStagingBytes, SharedMapping::Access::read_write));
  staging_ = std::make_shared<const SharedMapping>(std::move(mapped));
  return {};
}

Status ShmServerSession::join(TcpSocket socket) {
  ShmStream::Owner& owner = *this;
  auto stream = std::make_unique<ShmStream>(loop_, ShmStream::Side::server, std::move(socket),
                                            std::move(segment_), owner);
  stream_ = stream.get();
  return add_lane(0, std::move(stream));
}

void ShmServerSession::send_special(FrameKind kind, uint64_t request_id, uint64_t offset,
                                    uint16_t type) {
  FrameHeader header;
  header.kind = kind;
  header.type = type;
  header.request_id = request_id;
  header.offset = offset;
  queue_frame(header, {});
}

// --- grants ---

bool ShmServerSession::may_grant(const Push& push) {
  SharedArena* const arena = push.place.arena;
  if (arena == nullptr || stream_ == nullptr) return false;
  const uint64_t length_bytes = push.bytes.size();
  if (length_bytes > kGrantMaxBytes || (length_bytes < kGrantMinBytes && !push.lend)) return false;
  const auto found = given_.find(arena->id);
  if (found != given_.end()) return !found->second.refused;
  if (!stream_->give(*arena)) return false;  // it does not read; this time through the ring
  given_.emplace(arena->id, Given{arena->weak_from_this(), false});
  return true;
}

void ShmServerSession::push(Push& push) {
  if (closing_ || !may_grant(push)) {
    know_crc(push);
    return TcpSession::push(push);
  }
  if (begin_push(push) == nullptr) return;
  push.grant = ++last_grant_;
  push.granted_ns = loop_.now_ns();
  grants_.emplace(push.grant, &push);
  granted_.push_back(push);
  FrameHeader header;
  header.kind = FrameKind::grant;
  header.request_id = push.request_id;
  header.offset = push.offset;
  header.length = push.bytes.size();
  GrantBody body;
  body.number = push.grant;
  body.arena = push.place.arena->id;
  body.arena_offset = push.place.offset;
  body.generation = push.place.generation;
  queue_frame(header, as_bytes(&body, sizeof body));
  if (!lease_.running()) loop_.start(lease_, kLeaseNs);
}

void ShmServerSession::end_grant(Push& push) {
  grants_.erase(push.grant);
  finish_push(push);
}

// The pages are not waited for any longer. Whether the client still got the bytes it can tell.
void ShmServerSession::on_lease(Completion&) {
  const uint64_t now_ns = loop_.now_ns();
  while (Push* push = granted_.front()) {
    const uint64_t end_ns = push->granted_ns + kLeaseNs;
    if (end_ns > now_ns) return loop_.start_at(lease_, end_ns);
    end_grant(*push);
  }
}

// What the client maps for nothing.
void ShmServerSession::on_second() {
  std::erase_if(given_, [&](const auto& each) {
    if (!each.second.arena.expired()) return false;
    send_special(FrameKind::arena_gone, 0, each.first);
    return true;
  });
}

void ShmServerSession::take_granted(const FrameHeader& header) {
  const auto found = grants_.find(header.offset);
  const bool taken = header.type == 0;
  if (found == grants_.end()) {  // its lease is over
    if (!taken) send_special(FrameKind::grant_lost, header.request_id, 0);
    return;
  }
  Push& push = *found->second;
  if (taken) return end_grant(push);
  grants_.erase(found);
  const auto given = given_.find(push.place.arena->id);
  if (given != given_.end()) given->second.refused = true;
  push.unlink();
  know_crc(push);
  large_pushes_.push_back(push);
  kick();
}

// --- staging ---

void ShmServerSession::ask(Pull& pull) {
  const bool is_first = pull.asked_bytes == 0;
  if (is_first && pull.into.size() >= SlicePool::kHelpFromBytes) copies_.expect(pull.into.size());
  while (!free_slots_.empty()) {
    const PullRange range = ask_next(pull);
    if (range.length_bytes == 0) break;
    const uint16_t slot = free_slots_.back();
    free_slots_.pop_back();
    slots_used_ = std::max<size_t>(slots_used_, slot + 1);
    Slot& asked = slots_[slot];
    asked.state = Slot::State::asked;
    asked.request_id = pull.request_id;
    asked.offset = range.offset;
    asked.length_bytes = range.length_bytes;
    FrameHeader header;
    header.kind = FrameKind::stage;
    header.type = slot;
    header.request_id = pull.request_id;
    header.offset = range.offset;
    header.length = range.length_bytes;
    queue_frame(header, {});
  }
  if (pull.into.size() >= kHugePagesFromBytes) take_huge_pages();
  if (free_slots_.empty() && pull.asked_bytes < pull.into.size()) {
    wait_for_slots_.push_back(pull.request_id);
  }
}

void ShmServerSession::take_huge_pages() {
  constexpr size_t kSlotsPerPage = kHugePageBytes / kStagingSlotBytes;
  while (pages_asked_for_ * kSlotsPerPage < slots_used_) pages_.take(staging_, pages_asked_for_++);
}

void ShmServerSession::ask_waiting() {
  for (size_t left = wait_for_slots_.size(); left > 0 && !free_slots_.empty(); --left) {
    const uint64_t request_id = wait_for_slots_.front();
    wait_for_slots_.pop_front();
    Incoming* const request = incoming_.find(request_id);
    if (request == nullptr) continue;
    List<Pull>& pulls = request->pulls;
    for (Pull* pull = pulls.front(); pull != nullptr; pull = pulls.next(*pull)) {
      if (pull->asked_bytes < pull->into.size()) ask(*pull);
    }
  }
}

bool ShmServerSession::slot_is(const FrameHeader& header) const {
  if (header.type >= kStagingSlots) return false;
  const Slot& slot = slots_[header.type];
  return slot.state == Slot::State::asked && slot.request_id == header.request_id &&
         slot.offset == header.offset && slot.length_bytes == header.length;
}

void ShmServerSession::free_slot(uint16_t slot) {
  slots_[slot].state = Slot::State::free;
  free_slots_.push_back(slot);
}

// From memory that the client may change meanwhile: every byte is read once,
// and the crc is of what was read.
void ShmServerSession::Slot::make(uint64_t begin, uint64_t end) {
  static_assert(SlicePool::kSliceBytes % kPullBlockBytes == 0);
  static_assert(SlicePool::kSliceMinBytes % kPullBlockBytes == 0);
  CHECK(begin % kPullBlockBytes == 0 && begin < end && end <= from.size());
  const ConstBytes source = from.subspan(begin, end - begin);
  const Bytes target = place.subspan(begin, end - begin);
  if (block_crcs.empty()) {
    std::memcpy(target.data(), source.data(), source.size());
    return;
  }
  const size_t blocks = (source.size() + kPullBlockBytes - 1) / kPullBlockBytes;
  crc32c_copy_blocks(source, target, kPullBlockBytes,
                     block_crcs.subspan(begin / kPullBlockBytes, blocks));
}

Status ShmServerSession::take_staged(const FrameHeader& header) {
  if (!slot_is(header)) return violation("the peer staged what nobody asked for");
  Slot& slot = slots_[header.type];
  slot.pull = find_pull(header, header.length, &slot.place);
  if (slot.pull == nullptr) {
    free_slot(header.type);
    ask_waiting();
    return {};
  }
  slot.state = Slot::State::copying;
  slot.from = {staging_->data() + header.type * kStagingSlotBytes, header.length};
  slot.block_crcs = crcs_of(*slot.pull, header.offset, header.length);
  slot.alone = has_two_cores() && !slot.pull->urgent;
  copies_.submit(slot);
  return {};
}

void ShmServerSession::on_staged(SliceJob& job) {
  const Slot& slot = static_cast<Slot&>(job);
  Pull& pull = *slot.pull;
  mark_arrived(pull, slot.offset);
  free_slot(slot.number);
  if (fully_arrived(pull)) {
    finish_pull(pull, Status());
  } else {
    ask(pull);
  }
  ask_waiting();
}

template <class Which>
void ShmServerSession::end_copies(Which which) {
  for (Slot& slot : slots_) {
    if (slot.state != Slot::State::copying || !which(slot)) continue;
    copies_.wait(slot);
    free_slot(slot.number);
  }
}

Status ShmServerSession::take_pull_gone(const FrameHeader& header) {
  if (!slot_is(header)) return violation("the peer took back what nobody asked for");
  free_slot(header.type);
  Bytes place;
  const Pull* const pull = find_pull(header, header.length, &place);
  end_copies([&](const Slot& slot) { return slot.pull == pull; });
  const Status status = TcpSession::take_pull_gone(header);
  ask_waiting();
  return status;
}

// --- what arrives, and the end ---

Status ShmServerSession::take_special(InFrame& frame) {
  switch (frame.header.kind) {
    case FrameKind::granted:
      take_granted(frame.header);
      return {};
    case FrameKind::staged:
      return take_staged(frame.header);
    default:
      return violation("a frame that only a server sends");
  }
}

void ShmServerSession::drop_request(uint64_t request_id) {
  end_copies([&](const Slot& slot) { return slot.request_id == request_id; });
  if (Incoming* const request = incoming_.find(request_id)) {
    const Status canceled(StatusCode::canceled, "the request was dropped");
    for (Push* push = granted_.front(); push != nullptr;) {
      Push* const next = granted_.next(*push);
      if (push->request_id == request_id) {
        grants_.erase(push->grant);
        push->unlink();
        --request->pushes;
        loop_.complete(push->done, canceled);
      }
      push = next;
    }
  }
  TcpSession::drop_request(request_id);
  ask_waiting();
}

void ShmServerSession::close(Status reason) {
  if (closing_) return;
  const Status lost(StatusCode::unavailable, reason.text(), reason.errno_value());
  grants_.clear();
  while (Push* push = granted_.pop_front()) loop_.complete(push->done, lost);
  loop_.cancel(lease_);
  end_copies([](const Slot&) { return true; });
  TcpSession::close(std::move(reason));
}

}  // namespace gd2fs
