#include "fabric/shm_stream.h"

#include <cerrno>
#include <sched.h>

#include "base/leave_core.h"
#include "fabric/tcp_lane.h"

namespace gd2fs {
namespace {
constexpr int kNoticesPerTurn = 4096;
}  // namespace

ShmStream::ShmStream(Loop& loop, Side side, TcpSocket socket, ShmSegment segment, Owner& owner)
    : loop_(loop),
      side_(side),
      socket_(std::move(socket)),
      segment_(std::move(segment)),
      owner_(owner),
      reader_(side == Side::server ? segment_.to_server() : segment_.to_client(),
              side == Side::server ? segment_.to_server_data() : segment_.to_client_data(),
              kRingBytes),
      writer_(side == Side::server ? segment_.to_client() : segment_.to_server(),
              side == Side::server ? segment_.to_client_data() : segment_.to_server_data(),
              kRingBytes) {
  watch_.bind<&ShmStream::on_socket>(this);
}

ShmStream::~ShmStream() {
  stop();
}

Status ShmStream::start(LaneEvents& events) {
  events_ = &events;
  GD2FS_TRY(loop_.watch(watch_, socket_.fd(), EPOLLIN));
  loop_.add(*this);
  return {};
}

void ShmStream::stop() {
  loop_.remove(*this);
  loop_.unwatch(watch_);
  socket_.close();
}

LaneStream::Moved ShmStream::read(std::span<iovec> parts) {
  Moved result;
  const RingMoved moved = drained_ ? RingMoved() : reader_.read(parts);
  result.bytes = moved.bytes;
  if (moved.broken) {
    result.error = EPROTO;
  } else if (moved.bytes == 0) {
    result.ended = peer_gone_;
    result.would_block = !peer_gone_;
  } else if (reader_.writer_sleeps()) {
    ring_bell();
  }
  return result;
}

LaneStream::Moved ShmStream::write(std::span<iovec> parts) {
  Moved result;
  const RingMoved moved = writer_.write(parts);
  result.bytes = moved.bytes;
  if (moved.broken) {
    result.error = EPROTO;
  } else if (moved.bytes == 0) {
    result.would_block = true;
  } else if (writer_.reader_sleeps()) {
    ring_bell();
  }
  return result;
}

size_t ShmStream::poll() {
  size_t did = 0;
  if (waits_for_room_ && writer_.has_room()) {
    waits_for_room_ = false;
    ++did;
    events_->on_room();
  }
  if (socket_.open() && reader_.readable()) {
    ++did;
    events_->on_readable();
  }
  return did;
}

bool ShmStream::arm() {
  reader_.sleep();
  if (waits_for_room_) writer_.sleep();
  return !reader_.readable() && !(waits_for_room_ && writer_.has_room());
}

void ShmStream::disarm() {
  reader_.wake();
  writer_.wake();
}

// A full socket has bells in it already.
void ShmStream::ring_bell() {
  Notice bell;
  if (owner_.busy()) bell.busy_core = static_cast<uint32_t>(sched_getcpu()) + 1;
  iovec part{&bell, sizeof bell};
  socket_.write({&part, 1});
}

bool ShmStream::give(const SharedArena& arena) {
  Notice notice;
  notice.arena = arena.id;
  notice.length_bytes = arena.length_bytes;
  iovec part{&notice, sizeof notice};
  const int descriptors[] = {arena.fd, arena.generations_fd};
  return socket_.write({&part, 1}, descriptors).bytes == sizeof notice;
}

void ShmStream::take_notices() {
  std::vector<Descriptor> descriptors;
  uint32_t busy_core = 0;
  // Bounded, for a peer that rings without end; the rest comes in the next turn.
  for (int i = 0; i < kNoticesPerTurn && !peer_gone_ && socket_.open(); ++i) {
    Notice notice;
    iovec part{&notice, sizeof notice};
    descriptors.clear();
    // A server takes no descriptors: those that come are closed by the kernel.
    const Moved moved =
        side_ == Side::client ? socket_.read({&part, 1}, &descriptors) : socket_.read({&part, 1});
    if (moved.would_block) break;
    peer_gone_ = moved.ended || moved.error != 0;
    if (moved.bytes == sizeof notice && notice.arena == 0) busy_core = notice.busy_core;
    if (moved.bytes != sizeof notice || notice.arena == 0 || descriptors.size() != 2) continue;
    owner_.on_arena(
        {notice.arena, notice.length_bytes, std::move(descriptors[0]), std::move(descriptors[1])});
  }
  // Once, however often it rang: a move costs ten microseconds.
  leave_core(static_cast<int>(busy_core) - 1);
}

void ShmStream::on_socket(uint32_t) {
  take_notices();
  if (!peer_gone_) {
    poll();
    return;
  }
  loop_.unwatch(watch_);
  // What the peer wrote before it went, at most a ring full; then its end.
  static_assert(TcpLane::kReadTurnBytes >= kRingBytes);
  if (reader_.readable()) events_->on_readable();
  drained_ = true;
  if (socket_.open()) events_->on_readable();
}

}  // namespace gd2fs
