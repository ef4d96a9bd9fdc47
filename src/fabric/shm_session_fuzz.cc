// A real session in shared memory, either end of it, and a peer that says frames of any kind,
// grants and stages what it likes, changes the memory that both have at any time, spoils the rings'
// counters and sends rubbish and descriptors through the unix socket (session_fuzz.h has our side).
#include <fcntl.h>

#include <sys/socket.h>

#include "base/fuzz_seeds.h"
#include "base/log.h"
#include "fabric/raw_shm_end.h"
#include "fabric/session_fuzz.h"
#include "fabric/shm_session.h"

namespace gd2fs {
namespace {

constexpr uint8_t kKinds = 17;  // all
constexpr uint64_t kArenaUnits = 16;
constexpr uint32_t kArenaId = 9;

// Slab memory, which the server's end grants from, and which the peer gives to the client's end.
struct Arena {
  Arena() : shared(std::make_shared<SharedArena>()) {
    memory_fd = std::move(*make_shared_memory("arena", kArenaUnits * kGenerationUnitBytes));
    table_fd = std::move(*make_shared_memory("generations", 4096));
    memory = std::move(*SharedMapping::map(memory_fd.fd(), kArenaUnits * kGenerationUnitBytes,
                                           SharedMapping::Access::read_write));
    table = std::move(*SharedMapping::map(table_fd.fd(), 4096, SharedMapping::Access::read_write));
    shared->id = kArenaId;
    shared->fd = memory_fd.fd();
    shared->generations_fd = table_fd.fd();
    shared->length_bytes = kArenaUnits * kGenerationUnitBytes;
  }
  Generation& unit(uint8_t number) {
    return reinterpret_cast<Generation*>(table.data())[number % kArenaUnits];
  }
  std::shared_ptr<SharedArena> shared;
  Descriptor memory_fd;
  Descriptor table_fd;
  SharedMapping memory;
  SharedMapping table;
};

class Meeting final : public FuzzedSession {
 public:
  explicit Meeting(bool server) : server_(server) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
    TcpSocket mine(ends[0]);
    Descriptor segment;
    Status joined;
    if (server) {
      auto session =
          std::make_unique<ShmServerSession>(loop_, TcpOptions(), copies_, pages_, Peer(), 1, "");
      if (!session->make_memory(&segment, &staging_fd_).ok()) std::abort();
      joined = session->join(std::move(mine));
      start(std::move(session));
    } else {
      auto session =
          std::make_unique<ShmClientSession>(loop_, TcpOptions(), copies_, Peer(), 1, "");
      segment = std::move(*make_shared_memory("rings", ShmSegment::kTotalBytes));
      staging_fd_ = std::move(*make_shared_memory("staging", kStagingBytes));
      ShmSegment mapped = map_segment(segment.fd());
      Descriptor theirs(fcntl(segment.fd(), F_DUPFD_CLOEXEC, 0));
      Descriptor staging(fcntl(staging_fd_.fd(), F_DUPFD_CLOEXEC, 0));
      joined = session->join(std::move(mine), std::move(theirs), std::move(staging));
      start(std::move(session));
    }
    if (!joined.ok()) std::abort();
    peer_.emplace(TcpSocket(ends[1]), map_segment(segment.fd()),
                  server ? ShmStream::Side::client : ShmStream::Side::server);
    staging_ = std::move(
        *SharedMapping::map(staging_fd_.fd(), kStagingBytes, SharedMapping::Access::read_write));
  }
  ~Meeting() override {
    end();
    session_.reset();
  }

  void step(FuzzInput& input) {
    constexpr uint8_t kPeersSteps = 9;
    const uint8_t which = input.byte() % (kOwnSteps + kPeersSteps);
    if (which < 3) return say(FuzzFrame(input, kKinds).bytes);
    if (which >= kPeersSteps) return own_step(which - kPeersSteps, input);
    switch (which) {
      case 3:
        return answer(input);
      case 4:
        return server_ ? stage(input) : grant(input);
      case 5:
        return spoil(input);
      case 6:
        std::fill_n(staging_.data() + input.byte() % kStagingSlots * kStagingSlotBytes, 4096,
                    std::byte{input.byte()});
        return turn();
      case 7:
        return notice(input);
      default:
        arena_.unit(input.byte()).store(input.byte());
        return turn();
    }
  }

 private:
  template <class Made>
  void start(std::unique_ptr<Made> session) {
    session->set_events(this);
    if (!session->start().ok()) std::abort();
    session_ = std::move(session);
  }
  void listen() override {
    while (std::optional<RawFrame> frame = peer_->receive()) {
      if (heard_.size() < kHeardMax) heard_.push_back(frame->header);
      turn();
    }
  }
  SharedPlace place_of(const Push& push, FuzzInput& input) override {
    const uint8_t pick = input.byte();
    const uint64_t offset = uint64_t{pick} % kArenaUnits * kGenerationUnitBytes;
    if (pick % 3 == 0 || offset + push.bytes.size() > arena_.memory.length_bytes()) return {};
    return {arena_.shared.get(), offset, pick};
  }

  void say(ConstBytes bytes) {
    peer_->send_raw(bytes);
    turn();
    listen();
  }
  // To what our side has said: that it is there, or done.
  void answer(FuzzInput& input) {
    if (heard_.empty()) return;
    const size_t which = input.byte() % heard_.size();
    FrameHeader header = heard_[which];
    heard_.erase(heard_.begin() + static_cast<ptrdiff_t>(which));
    header.body_bytes = header.payload_bytes = 0;
    header.body_crc = header.payload_crc = 0;
    if (header.kind == FrameKind::stage) header.kind = FrameKind::staged;
    if (header.kind == FrameKind::pull) header.kind = FrameKind::pulled;
    if (header.kind == FrameKind::ping) header.kind = FrameKind::pong;
    if (header.kind == FrameKind::grant) {
      header.kind = FrameKind::granted;
      header.type = input.byte() % 2;
      header.offset = input.byte();  // the grant's number
      header.length = 0;
    }
    if (input.byte() > 250) header.length = input.number();
    say_header(header, {});
  }
  void say_header(const FrameHeader& header, ConstBytes body) {
    peer_->send(header, body);
    turn();
    listen();
  }
  void stage(FuzzInput& input) {
    FrameHeader header;
    header.kind = FrameKind::staged;
    header.type = input.byte();
    header.request_id = input.byte();
    header.offset = input.number();
    header.length = input.length(kStagingSlotBytes + 1);
    say_header(header, {});
  }
  void grant(FuzzInput& input) {
    FrameHeader header;
    header.kind = FrameKind::grant;
    header.request_id = input.byte();
    header.offset = input.number();
    header.length = input.length(kMemoryMaxBytes);
    GrantBody body;
    body.number = input.byte();
    body.arena = input.byte() < 200 ? kArenaId : input.byte();
    body.arena_offset = input.number();
    body.generation = input.byte();
    say_header(header, as_bytes(&body, sizeof body));
  }
  void spoil(FuzzInput& input) {
    RingControl& control = (input.byte() & 1) != 0 ? peer_->in() : peer_->out();
    const uint64_t number = input.number();
    switch (input.byte() % 6) {
      case 0:
        control.written.store(number);
        break;
      case 1:
        control.taken.store(number);
        break;
      case 2:
        control.written.fetch_add(number);
        break;
      case 3:
        control.taken.fetch_sub(number);
        break;
      case 4:
        control.reader_sleeps.store(static_cast<uint32_t>(number));
        break;
      default:
        control.writer_sleeps.store(static_cast<uint32_t>(number));
    }
    turn();
  }
  // Through the socket: an arena, a bell, rubbish, descriptors that are no arena's, or the end.
  void notice(FuzzInput& input) {
    const uint8_t how = input.byte();
    std::byte bytes[16] = {};
    store_le<uint32_t>(bytes, how < 128 ? kArenaId : input.byte());
    store_le<uint32_t>(bytes + 4, input.byte());
    store_le<uint64_t>(bytes + 8, how < 192 ? arena_.shared->length_bytes : input.number());
    iovec part{bytes, how % 8 == 0 ? input.byte() % sizeof bytes : sizeof bytes};
    const int descriptors[] = {how % 16 == 1 ? arena_.table_fd.fd() : arena_.memory_fd.fd(),
                               arena_.table_fd.fd()};
    if (how == 255) {
      peer_->socket.close();
    } else if (how % 4 == 3) {
      peer_->socket.write({&part, 1});
    } else {
      peer_->socket.write({&part, 1}, {descriptors, how % 16 == 2 ? 1u : 2u});
    }
    turn();
  }

  static constexpr size_t kHeardMax = 256;

  const bool server_;
  SlicePool copies_{loop_, "copies", 0};
  HugePageTaker pages_;
  Arena arena_;
  Descriptor staging_fd_;
  SharedMapping staging_;
  std::optional<RawEnd> peer_;
  std::vector<FrameHeader> heard_;
};

// The first byte: which end is ours. Steps 3 and 4 are the peer's answers and grants, 9 to 12 our
// asks, withdrawals, pushes and pulls.
void seeds(SeedFolder& folder) {
  const std::string request("\x00\x00\x07\x01\x00\x00\x40\x18\x00", 9);  // id 1, a body
  const std::string push("\x0b\x51\x01\x00\x01", 5);  // 128 KiB for request 1, out of the arena
  const std::string pull("\x0c\x50\x01\x00\x01", 5);  // 64 KiB of request 1
  const std::string answer("\x03\x00\x00\x01\x00", 5);
  const std::string later("\x0f\xff", 2);
  const std::string server("\x01", 1);
  folder.add(server + request + push + answer);
  folder.add(server + request + push + later);
  folder.add(server + request + pull + std::string("\x03\x00\x00", 3));
  folder.add(server + request + pull + std::string("\x06\x00\x07\x03\x00\x00\x0e\x01", 8));
  const std::string client("\x00", 1);
  const std::string arena("\x07\x00\x00", 3);
  const std::string unit("\x08\x00\x05", 3);
  const std::string ask("\x09\x51\x10\x00", 4);  // 128 KiB to fill
  const std::string lend("\x09\x51\x10\x01", 4);
  const std::string grant("\x04\x01\x00\x51\x01\x00\x00\x05", 8);
  folder.add(client + arena + unit + ask + grant);
  folder.add(client + arena + ask + grant);
  folder.add(client + ask + grant);
  folder.add(client + lend + std::string("\x00\x0b\x00\x01\x00\x50\x40\x00\x00", 9));
  for (char kind = 0; kind < kKinds; ++kind) {
    folder.add(client + std::string("\x00", 1) + kind +
               std::string("\x07\x01\x00\x00\x40\x18\x00", 7));
  }
  for (char what = 0; what < 6; ++what) {
    folder.add(server + std::string("\x05\x01\x70", 3) + what + request);
  }
  folder.add(client + std::string("\x07\xff\x0f\xff", 4));
}

}  // namespace
}  // namespace gd2fs

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  gd2fs::set_log_level(gd2fs::LogLevel::off);
  return gd2fs::write_seeds_if_asked(*argc, *argv, gd2fs::seeds);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  gd2fs::FuzzInput input(data, size);
  gd2fs::Meeting meeting((input.byte() & 1) != 0);
  for (size_t i = 0; i < gd2fs::Meeting::kStepsMax && !input.empty(); ++i) meeting.step(input);
  return 0;
}
