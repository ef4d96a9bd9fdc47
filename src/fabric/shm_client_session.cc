// The client's end of shared memory: arenas mapped, copies in flight.
#include "fabric/reply.h"
#include "fabric/shm_session.h"
#include "fabric/stripes.h"

namespace gd2fs {
namespace {

constexpr int kPartsAtOnce = 64;

Status violation(std::string_view what) {
  return {StatusCode::invalid, what};
}

}  // namespace

ShmClientSession::ShmClientSession(Loop& loop, const TcpOptions& options, SlicePool& copies,
                                   Peer peer, uint64_t number, std::string session_key)
    : TcpSession(loop, options, std::move(peer), number, 1, std::move(session_key)),
      copies_(copies) {}

ShmClientSession::~ShmClientSession() {
  while (Copy* copy = in_flight_.front()) {
    CHECK(!copy->straight);  // its window is withdrawn before its session goes, which waits for it
    copies_.wait(*copy);
    Withdrawal* const waiting = copy->waiting;
    end_copy(*copy);
    if (waiting == nullptr || --waiting->copies > 0) continue;
    loop_.complete(*waiting->done, Status());
    delete waiting;
  }
}

Status ShmClientSession::join(TcpSocket socket, Descriptor segment, Descriptor staging) {
  GD2FS_TRY(check_shared_memory(segment.fd(), ShmSegment::kTotalBytes));
  GD2FS_TRY(check_shared_memory(staging.fd(), kStagingBytes));
  ShmSegment mapped;
  GD2FS_ASSIGN(mapped.memory, SharedMapping::map(segment.fd(), ShmSegment::kTotalBytes,
                                                 SharedMapping::Access::read_write));
  GD2FS_ASSIGN(SharedMapping mapped_staging,
               SharedMapping::map(staging.fd(), kStagingBytes, SharedMapping::Access::read_write));
  staging_ = std::make_shared<const SharedMapping>(std::move(mapped_staging));
  ShmStream::Owner& owner = *this;
  auto stream = std::make_unique<ShmStream>(loop_, ShmStream::Side::client, std::move(socket),
                                            std::move(mapped), owner);
  stream_ = stream.get();
  return add_lane(0, std::move(stream));
}

// --- arenas ---

void ShmClientSession::on_arena(ShmStream::ArenaNotice notice) {
  // An arena that cannot be mapped stays null: what is granted in it is declined.
  std::shared_ptr<const Arena>& place = arenas_[notice.id];
  if (place != nullptr) return;
  const uint64_t units = notice.length_bytes / kGenerationUnitBytes;
  const uint64_t table_bytes = align_up(units * sizeof(Generation), 4096);
  if (units == 0 || notice.length_bytes > kArenaMaxBytes ||
      !check_shared_memory(notice.memory.fd(), notice.length_bytes).ok() ||
      !check_shared_memory(notice.generations.fd(), table_bytes).ok()) {
    return;
  }
  constexpr auto kReadOnly = SharedMapping::Access::read_only;
  auto memory = SharedMapping::map(notice.memory.fd(), notice.length_bytes, kReadOnly);
  auto generations = SharedMapping::map(notice.generations.fd(), table_bytes, kReadOnly);
  if (!memory.has_value() || !generations.has_value()) return;
  auto arena = std::make_shared<Arena>();
  arena->memory = std::move(*memory);
  arena->generations = std::move(*generations);
  place = std::move(arena);
}

std::shared_ptr<const ShmClientSession::Arena> ShmClientSession::find_arena(uint32_t id) {
  auto found = arenas_.find(id);
  if (found == arenas_.end()) {
    stream_->take_notices();  // sent before the grant was
    found = arenas_.find(id);
  }
  return found == arenas_.end() ? nullptr : found->second;
}

// --- what arrives ---

Status ShmClientSession::take_special(InFrame& frame) {
  switch (frame.header.kind) {
    case FrameKind::grant:
      return take_grant(frame);
    case FrameKind::stage:
      return take_stage(frame.header);
    case FrameKind::grant_lost:
      return take_lost(frame.header.request_id);
    case FrameKind::arena_gone:
      if (frame.header.offset <= UINT32_MAX) {
        arenas_.erase(static_cast<uint32_t>(frame.header.offset));
      }
      return {};
    default:
      return violation("a frame that only a client sends");
  }
}

Status ShmClientSession::take_grant(const InFrame& frame) {
  const FrameHeader& header = frame.header;
  const auto grant = load_le<GrantBody>(frame.body.data());
  Window* const shown = window_of(header.request_id);
  if (shown == nullptr) {  // withdrawn
    send_granted(grant, header.request_id, true);
    return {};
  }
  Window& window = *shown;
  if (window.direction != Window::Direction::sink ||
      !inside(window, header.offset, header.length)) {
    return violation("the peer granted bytes outside of the window");
  }
  std::shared_ptr<const Arena> arena = find_arena(grant.arena);
  if (arena == nullptr) {
    send_granted(grant, header.request_id, false);
    return {};
  }
  const uint64_t arena_bytes = arena->memory.length_bytes();
  if (grant.arena_offset > arena_bytes || header.length > arena_bytes - grant.arena_offset) {
    return violation("the peer granted bytes outside of an arena");
  }
  if (window.lent != nullptr) return lend(header, grant, std::move(arena), window);
  const bool is_short = header.length <= kCopyNowBytes;
  if (is_short && window.straight == nullptr) return copy_now(header, grant, *arena, window);
  Copy* copy = copy_pool_.get();
  if (copy == nullptr) return violation("the peer grants more than kCopiesMax pieces");
  copy->frame = header;
  copy->grant = grant;
  copy->arena = arena;
  std::byte* const memory = arena->memory.data();
  if (start_straight(*copy, window, {memory + grant.arena_offset, header.length},
                     {{memory, arena_bytes}, arena})) {
    return {};
  }
  if (is_short) {
    end_copy(*copy);
    return copy_now(header, grant, *arena, window);
  }
  copy_granted(*copy, window);
  return {};
}

Status ShmClientSession::copy_now(const FrameHeader& frame, const GrantBody& grant,
                                  const Arena& arena, Window& window) {
  const ConstBytes bytes(arena.memory.data() + grant.arena_offset, frame.length);
  if (window.total_bytes < kAroundCacheBytes) {
    copy_into(window, frame.offset, bytes);
  } else {
    copy_into_long(window, frame.offset, bytes);
  }
  const bool taken = still_there(arena.unit_at(grant.arena_offset), grant.generation);
  send_granted(grant, frame.request_id, taken);
  return taken ? landed(frame.request_id, window, frame.length) : Status();
}

// A short piece of many: a large read of what short ones had brought into the cache.
void ShmClientSession::copy_into_long(Window& window, uint64_t offset, ConstBytes from) {
  while (!from.empty()) {
    iovec parts[kPartsAtOnce];
    const int count = window_parts(window, offset, from.size(), parts, kPartsAtOnce);
    CHECK(count > 0);
    for (int i = 0; i < count; ++i) {
      const size_t length = parts[i].iov_len;
      copy_around_cache(static_cast<std::byte*>(parts[i].iov_base), from.data(), length);
      from = from.subspan(length);
      offset += length;
    }
  }
}

// Nothing is copied and nobody holds the bytes: whoever looks at them asks afterwards.
Status ShmClientSession::lend(const FrameHeader& frame, const GrantBody& grant,
                              std::shared_ptr<const Arena> arena, Window& window) {
  const Generation& unit = arena->unit_at(grant.arena_offset);
  const bool taken = still_there(unit, grant.generation);
  if (taken) {
    const ConstBytes bytes(arena->memory.data() + grant.arena_offset, frame.length);
    window.lent->push_back({frame.offset, bytes, &unit, grant.generation, std::move(arena)});
  }
  send_granted(grant, frame.request_id, taken);
  return taken ? landed(frame.request_id, window, frame.length) : Status();
}

Status ShmClientSession::take_stage(const FrameHeader& header) {
  Window* const shown = window_of(header.request_id);
  if (shown == nullptr) {
    return send_gone(header.request_id, header.offset, header.length, header.type);
  }
  Window& window = *shown;
  if (window.direction != Window::Direction::source ||
      !inside(window, header.offset, header.length)) {
    return violation("the peer pulled outside of the window");
  }
  if (header.type >= kStagingSlots || header.length > kStagingSlotBytes) {
    return violation("the peer names a staging slot that there is not");
  }
  std::byte* const slot = staging_->data() + header.type * kStagingSlotBytes;
  if (header.length <= kCopyNowBytes && window.straight == nullptr) {
    copy_out_of(window, header.offset, {slot, header.length});
    window.moved_bytes += header.length;
    send_staged(header);
    return {};
  }
  Copy* copy = copy_pool_.get();
  if (copy == nullptr) return violation("the peer pulls more than kCopiesMax pieces");
  copy->frame = header;
  if (window.straight != nullptr) {
    if (start_straight(*copy, window, {slot, header.length}, staging())) return {};
    end_copy(*copy);
    return send_gone(header.request_id, header.offset, header.length, header.type);
  }
  start_copy(*copy, window, [&](std::byte* in_window, uint64_t at, size_t length) {
    return CopyJob::Part{slot + at, in_window, length};
  });
  return {};
}

// Some bytes of the request were gone before they could be copied, and the server does not hold
// them any more. Its owner asks again.
Status ShmClientSession::take_lost(uint64_t request_id) {
  if (!windows_.contains(request_id)) return {};
  const auto held = held_.find(request_id);
  if (held == held_.end()) {
    lost_.insert(request_id);
    return {};
  }
  held_.erase(held);
  deliver_lost(request_id);
  return {};
}

void ShmClientSession::deliver_lost(uint64_t request_id) {
  const std::vector<std::byte> body =
      pack_error(Status(StatusCode::busy, "the bytes left the cache before they were copied"));
  events_->on_reply(*this,
                    {FrameKind::reply, static_cast<uint16_t>(msg::Type::error), request_id, body});
}

Status ShmClientSession::take_reply(InFrame& frame) {
  if (lost_.erase(frame.header.request_id) == 0) return TcpSession::take_reply(frame);
  deliver_lost(frame.header.request_id);
  return {};
}

// --- copies ---

template <class MakePart>
void ShmClientSession::start_copy(Copy& copy, Window& window, MakePart make_part) {
  copy.window = &window;
  copy.waiting = nullptr;
  copy.parts.clear();
  copy.length_bytes = copy.frame.length;
  // Not into a staging slot: the server reads it at once.
  copy.around_cache =
      copy.frame.kind == FrameKind::grant && window.total_bytes >= kAroundCacheBytes;
  for (uint64_t at = 0; at < copy.frame.length;) {
    iovec parts[kPartsAtOnce];
    const int count =
        window_parts(window, copy.frame.offset + at, copy.frame.length - at, parts, kPartsAtOnce);
    CHECK(count > 0);
    for (int i = 0; i < count; ++i) {
      copy.parts.push_back(
          make_part(static_cast<std::byte*>(parts[i].iov_base), at, parts[i].iov_len));
      at += parts[i].iov_len;
    }
  }
  copy.bind<&ShmClientSession::on_copied>(this);
  in_flight_.push_back(copy);
  copies_.submit(copy);
}

// Out of the arena into the window.
void ShmClientSession::copy_granted(Copy& copy, Window& window) {
  const std::byte* from = copy.arena->memory.data() + copy.grant.arena_offset;
  start_copy(copy, window, [&](std::byte* in_window, uint64_t at, size_t length) {
    return CopyJob::Part{in_window, from + at, length};
  });
}

// By DMA, or the GPU's copy kernel: no CPU touches the bytes.
bool ShmClientSession::start_straight(Copy& copy, Window& window, Bytes bytes,
                                      const SharedStaging& memory) {
  if (window.straight == nullptr) return false;
  copy.part.offset = copy.frame.offset;
  copy.part.bytes = bytes;
  copy.part.mapping = memory.memory;
  copy.part.keeps = memory.keeps;
  copy.part.done.bind<&Copy::on_part_done>(&copy);
  if (!window.straight->take(copy.part)) return false;
  copy.session = this;
  copy.straight = true;
  copy.window = &window;
  copy.waiting = nullptr;
  in_flight_.push_back(copy);
  return true;
}

void ShmClientSession::on_straight(Copy& copy, const Status& status) {
  if (status.ok() || copy.window == nullptr || closing_) return on_ended(copy);
  if (copy.frame.kind == FrameKind::grant) {
    // What ails the GPU is told to the request by the GPU itself, on the way through the window.
    copy.ListNode<CopyTag>::unlink();
    copy.straight = false;
    return copy_granted(copy, *copy.window);
  }
  copy.window = nullptr;  // nothing can be staged of it
  on_ended(copy);
}

// The copy went well; whether it was of the right bytes is seen here.
void ShmClientSession::on_ended(Copy& copy) {
  const FrameHeader frame = copy.frame;
  const GrantBody grant = copy.grant;
  const bool sink = frame.kind == FrameKind::grant;
  const bool taken =
      !sink || still_there(copy.arena->unit_at(grant.arena_offset), grant.generation);
  Window* const window = copy.window;
  Withdrawal* const waiting = copy.waiting;
  if (sink && copy.straight && taken && window != nullptr && !closing_) {
    window->straight->arrived(frame.offset, frame.length);
  }
  end_copy(copy);
  if (waiting != nullptr && --waiting->copies == 0) {
    loop_.complete(*waiting->done, Status());
    delete waiting;
  }
  if (closing_) {
    if (close_waits_ && in_flight_.empty()) TcpSession::end_close();
    return;
  }
  Status status;
  if (sink) {
    send_granted(grant, frame.request_id, taken || window == nullptr);
    if (taken && window != nullptr) status = landed(frame.request_id, *window, frame.length);
  } else if (window != nullptr) {
    window->moved_bytes += frame.length;
    send_staged(frame);
  } else {
    status = send_gone(frame.request_id, frame.offset, frame.length, frame.type);
  }
  if (!status.ok()) fail(status);
}

void ShmClientSession::end_copy(Copy& copy) {
  copy.ListNode<CopyTag>::unlink();
  copy.arena.reset();
  copy.straight = false;
  copy.part.keeps.reset();
  copy.window = nullptr;
  copy_pool_.put(&copy);
}

void ShmClientSession::send_granted(const GrantBody& grant, uint64_t request_id, bool taken) {
  FrameHeader header;
  header.kind = FrameKind::granted;
  header.type = taken ? 0 : 1;
  header.request_id = request_id;
  header.offset = grant.number;
  queue_frame(header, {});
}

void ShmClientSession::send_staged(const FrameHeader& stage) {
  FrameHeader header;
  header.kind = FrameKind::staged;
  header.type = stage.type;
  header.request_id = stage.request_id;
  header.offset = stage.offset;
  header.length = stage.length;
  queue_frame(header, {});
}

// --- the end ---

bool ShmClientSession::take_back(Copy& copy) {
  if (!copy.straight) return copies_.take_back(copy);
  return copy.window != nullptr && copy.window->straight->take_back(copy.part);
}

void ShmClientSession::withdraw(Window& window, Completion& done) {
  done.start();
  lost_.erase(window.request_id);
  Withdrawal* waiting = nullptr;
  for (Copy* copy = in_flight_.front(); copy != nullptr;) {
    Copy* const next = in_flight_.next(*copy);
    if (copy->window == &window) {
      const bool never_began = take_back(*copy);
      if (never_began && !closing_) give_back(*copy);
      if (never_began) {
        end_copy(*copy);
      } else {
        if (waiting == nullptr) {
          waiting = new Withdrawal;
          waiting->done = &done;
        }
        copy->window = nullptr;
        copy->waiting = waiting;
        ++waiting->copies;
      }
    }
    copy = next;
  }
  forget_window(window);
  if (waiting == nullptr) loop_.complete(done, Status());
}

// Of a copy that will not be made.
void ShmClientSession::give_back(const Copy& copy) {
  if (copy.frame.kind == FrameKind::grant) {
    return send_granted(copy.grant, copy.frame.request_id, true);
  }
  const Status sent =
      send_gone(copy.frame.request_id, copy.frame.offset, copy.frame.length, copy.frame.type);
  if (!sent.ok()) fail(sent);
}

void ShmClientSession::end_close() {
  lost_.clear();
  for (Copy* copy = in_flight_.front(); copy != nullptr;) {
    Copy* const next = in_flight_.next(*copy);
    if (take_back(*copy)) end_copy(*copy);
    copy = next;
  }
  // Copies that were begun touch memory until they end.
  close_waits_ = !in_flight_.empty();
  if (!close_waits_) TcpSession::end_close();
}

}  // namespace gd2fs
