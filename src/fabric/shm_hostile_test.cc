// Peers in shared memory that break the rules: their session ends, and nothing else happens.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "fabric/conformance_pair.h"
#include "fabric/raw_shm_end.h"
#include "fabric/shm_session.h"

namespace gd2fs {
namespace {

constexpr uint64_t kUnit = kGenerationUnitBytes;

class ShmHostile : public testing::Test {
 protected:
  RealClock clock;
  Loop loop{clock, Loop::Waits::epoll};
  SlicePool copies{loop, "copies", 1};
  HugePageTaker pages;
  Side side;
  std::unique_ptr<RawEnd> peer;
  std::unique_ptr<SharedMapping> staging;

  ~ShmHostile() override { side.session.reset(); }

  std::pair<TcpSocket, TcpSocket> sockets() {
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    return {TcpSocket(ends[0]), TcpSocket(ends[1])};
  }
  // A server that is tested; the peer plays its client.
  void be_server() {
    auto [mine, theirs] = sockets();
    auto session =
        std::make_unique<ShmServerSession>(loop, TcpOptions(), copies, pages, Peer(), 1, "");
    Descriptor segment;
    Descriptor staging_fd;
    ASSERT_TRUE(session->make_memory(&segment, &staging_fd).ok());
    ASSERT_TRUE(session->join(std::move(mine)).ok());
    session->set_events(&side);
    ASSERT_TRUE(session->start().ok());
    side.session = std::move(session);
    peer = std::make_unique<RawEnd>(std::move(theirs), map_segment(segment.fd()),
                                    ShmStream::Side::client);
  }
  void be_client() {
    auto [mine, theirs] = sockets();
    auto session = std::make_unique<ShmClientSession>(loop, TcpOptions(), copies, Peer(), 1, "");
    auto segment = make_shared_memory("rings", ShmSegment::kTotalBytes);
    auto staging_fd = make_shared_memory("staging", kStagingBytes);
    ShmSegment mapped = map_segment(segment->fd());
    ASSERT_TRUE(session->join(std::move(mine), std::move(*segment), std::move(*staging_fd)).ok());
    session->set_events(&side);
    ASSERT_TRUE(session->start().ok());
    side.session = std::move(session);
    peer = std::make_unique<RawEnd>(std::move(theirs), std::move(mapped), ShmStream::Side::server);
  }
  bool until(const std::function<bool()>& predicate) {
    const uint64_t end_ns = clock.now_ns() + 10 * kSecond;
    while (!predicate()) {
      if (clock.now_ns() > end_ns) return false;
      loop.turn(kMs);
    }
    return true;
  }
  void expect_end(StatusCode code) {
    ASSERT_TRUE(until([&] { return side.closed.has_value(); }));
    EXPECT_TRUE(side.closed->is(code)) << side.closed->to_string();
    side.session.reset();
    side.closed.reset();
    peer.reset();
  }
  FrameHeader frame(FrameKind kind, uint64_t request, uint64_t offset, uint64_t length,
                    uint16_t type = 0) {
    FrameHeader header;
    header.kind = kind;
    header.type = type;
    header.request_id = request;
    header.offset = offset;
    header.length = length;
    return header;
  }
  // A window of the client under test.
  uint64_t expose(Window& window, Window::Direction direction, Bytes memory) {
    window.direction = direction;
    window.segments = {{memory.data(), memory.size()}};
    window.request_id = side.session->next_request_id();
    side.session->expose(window);
    EXPECT_TRUE(side.session->send(1, window.request_id, {}).ok());
    return window.request_id;
  }
};

TEST_F(ShmHostile, a_client_whose_counters_are_impossible_is_sent_away) {
  for (const uint64_t lie : {kRingBytes + 1, uint64_t{1} << 50}) {
    ASSERT_NO_FATAL_FAILURE(be_server());
    peer->out().written.store(lie);
    expect_end(StatusCode::io);
    ASSERT_NO_FATAL_FAILURE(be_server());
    peer->in().taken.store(lie);
    ASSERT_TRUE(side.session->send(1, 0, {}).ok());
    expect_end(StatusCode::io);
  }
}

TEST_F(ShmHostile, what_is_first_in_a_turn_leaves_at_once_and_the_rest_at_its_end) {
  ASSERT_NO_FATAL_FAILURE(be_client());
  ASSERT_TRUE(until([&] { return !loop.has_completions(); }));
  for (const uint16_t type : {1, 2, 3}) ASSERT_TRUE(side.session->send(type, 0, {}).ok());
  auto first = peer->receive();
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->header.type, 1);
  EXPECT_FALSE(peer->receive().has_value());
  loop.run_queued();
  for (const uint16_t type : {2, 3}) {
    const auto next = peer->receive();
    ASSERT_TRUE(next.has_value());
    EXPECT_EQ(next->header.type, type);
  }
}

TEST_F(ShmHostile, a_client_that_answers_what_nobody_asked_is_sent_away) {
  const FrameHeader frames[] = {
      frame(FrameKind::staged, 7, 0, 4096),    frame(FrameKind::staged, 7, 0, 4096, 60'000),
      frame(FrameKind::pull_gone, 7, 0, 4096), frame(FrameKind::stage, 7, 0, 4096),
      frame(FrameKind::grant_lost, 7, 0, 0),   frame(FrameKind::arena_gone, 0, 1, 0)};
  for (const FrameHeader& header : frames) {
    ASSERT_NO_FATAL_FAILURE(be_server());
    peer->send(header);
    expect_end(StatusCode::invalid);
  }
  ASSERT_NO_FATAL_FAILURE(be_server());
  GrantBody body;
  peer->send(frame(FrameKind::grant, 7, 0, 4096), as_bytes(&body, sizeof body));
  expect_end(StatusCode::invalid);
  // What it may say at any time changes nothing.
  ASSERT_NO_FATAL_FAILURE(be_server());
  peer->send(frame(FrameKind::granted, 7, 99, 0));
  peer->send(frame(FrameKind::granted, 7, 99, 0, 1));
  std::optional<RawFrame> answer;
  ASSERT_TRUE(until([&] { return (answer = peer->receive()).has_value(); }));
  EXPECT_EQ(answer->header.kind, FrameKind::grant_lost);
  EXPECT_FALSE(side.closed.has_value());
}

TEST_F(ShmHostile, a_client_that_changes_its_slot_early_spoils_only_what_is_pulled) {
  ASSERT_NO_FATAL_FAILURE(be_server());
  FrameHeader request = frame(FrameKind::message, 5, 0, 0, 1);
  peer->send(request);
  ASSERT_TRUE(until([&] { return side.messages.size() == 1; }));
  std::vector<std::byte> into(3 * kPullBlockBytes);
  std::vector<uint32_t> crcs(3);
  PullFlag pull(5, 0, into);
  pull.block_crcs = crcs;
  side.session->pull(pull);
  std::optional<RawFrame> asked;
  ASSERT_TRUE(until([&] { return (asked = peer->receive()).has_value(); }));
  ASSERT_EQ(asked->header.kind, FrameKind::stage);
  peer->send(frame(FrameKind::staged, 5, 0, into.size(), asked->header.type));
  ASSERT_TRUE(until([&] { return pull.finished; }));
  EXPECT_TRUE(pull.status.ok());
  // Whatever was in the slot: the crcs are of what the server has.
  for (size_t i = 0; i < crcs.size(); ++i) {
    EXPECT_EQ(crcs[i], crc32c(Bytes(into).subspan(i * kPullBlockBytes, kPullBlockBytes)));
  }
  peer->send(frame(FrameKind::staged, 5, 0, into.size(), asked->header.type));  // once more
  expect_end(StatusCode::invalid);
}

// Helpers take what was staged. Whose request is dropped meanwhile, or whose
// session ends, finds its memory its own when the pull has ended.
TEST_F(ShmHostile, memory_of_a_pull_that_ended_is_not_written_by_the_helpers) {
  for (int round = 0; round < 30; ++round) {
    ASSERT_NO_FATAL_FAILURE(be_server());
    peer->send(frame(FrameKind::message, 5, 0, 0, 1));
    ASSERT_TRUE(until([&] { return side.messages.size() == 1; }));
    std::vector<std::byte> into(kStagingBytes);
    std::vector<uint32_t> crcs(into.size() / kPullBlockBytes);
    PullFlag pull(5, 0, into);
    pull.block_crcs = crcs;
    side.session->pull(pull);
    std::vector<FrameHeader> asked;
    ASSERT_TRUE(until([&] {
      while (const auto got = peer->receive()) asked.push_back(got->header);
      return asked.size() == kStagingSlots;
    }));
    for (const FrameHeader& one : asked) {
      peer->send(frame(FrameKind::staged, 5, one.offset, one.length, one.type));
    }
    loop.turn(0);
    if (round % 3 == 0) side.session->drop_request(5);
    if (round % 3 == 1) side.session->close(Status(StatusCode::canceled, "enough"));
    if (round % 3 == 2) {
      // One more slot than there was time for is taken back: the pull ends with
      // it.
      peer->send(
          frame(FrameKind::pull_gone, 5, asked[31].offset, asked[31].length, asked[31].type));
    }
    ASSERT_TRUE(until([&] { return pull.finished || side.closed.has_value(); }));
    if (pull.finished) {
      std::ranges::fill(into, std::byte{0x77});
      for (int turn = 0; turn < 20; ++turn) loop.turn(100 * kUs);
      EXPECT_TRUE(std::ranges::all_of(into, [](std::byte b) { return b == std::byte{0x77}; }));
    }
    side.session.reset();
    side.closed.reset();
    side.messages.clear();
    peer.reset();
  }
}

TEST_F(ShmHostile, bells_descriptors_and_rubbish_on_the_socket_are_nothing_to_a_server) {
  ASSERT_NO_FATAL_FAILURE(be_server());
  Descriptor some(memfd_create("some", MFD_CLOEXEC));
  std::vector<std::byte> rubbish(10'007, std::byte{0xAB});
  for (int i = 0; i < 50; ++i) {
    iovec part{rubbish.data(), rubbish.size()};
    const int fd = some.fd();
    if (i % 2 == 0) {
      peer->socket.write({&part, 1}, {&fd, 1});
    } else {
      peer->socket.write({&part, 1});
    }
    loop.turn(0);
  }
  peer->send(frame(FrameKind::message, 5, 0, 0, 1));
  ASSERT_TRUE(until([&] { return side.messages.size() == 1; }));
  EXPECT_FALSE(side.closed.has_value());
  peer->socket.close();
  expect_end(StatusCode::unavailable);
}

TEST_F(ShmHostile, rubbish_in_the_ring_ends_the_session) {
  Random random(5);
  for (int round = 0; round < 50; ++round) {
    const bool server = round % 2 == 0;
    if (server) {
      ASSERT_NO_FATAL_FAILURE(be_server());
    } else {
      ASSERT_NO_FATAL_FAILURE(be_client());
    }
    std::vector<std::byte> rubbish(64 + random.below(5000));
    random.fill(rubbish);
    peer->send_raw(rubbish);
    expect_end(StatusCode::invalid);
  }
}

// --- a server that is not what it should be ---

TEST_F(ShmHostile, a_server_that_grants_outside_of_window_or_arena_is_left) {
  for (int round = 0; round < 3; ++round) {
    ASSERT_NO_FATAL_FAILURE(be_client());
    std::vector<std::byte> memory(200'000, std::byte{1});
    Window window;
    const uint64_t id = expose(window, Window::Direction::sink, memory);
    auto arena = make_shared_memory("arena", 4 * kUnit);
    auto table = make_shared_memory("table", 4096);
    std::byte notice[16] = {};
    store_le<uint32_t>(notice, 9);
    store_le<uint64_t>(notice + 8, 4 * kUnit);
    iovec part{notice, sizeof notice};
    const int descriptors[] = {arena->fd(), table->fd()};
    ASSERT_EQ(peer->socket.write({&part, 1}, descriptors).bytes, sizeof notice);
    GrantBody body;
    body.number = 1;
    body.arena = 9;
    FrameHeader header = frame(FrameKind::grant, id, 0, 150'000);
    if (round == 0) header.offset = 50'001;              // past the window's end
    if (round == 1) body.arena_offset = 4 * kUnit - 1;   // past the arena's
    if (round == 2) body.arena_offset = UINT64_MAX - 5;  // around the end of numbers
    peer->send(header, as_bytes(&body, sizeof body));
    expect_end(StatusCode::invalid);
    EXPECT_EQ(memory, std::vector<std::byte>(200'000, std::byte{1}));
  }
}

TEST_F(ShmHostile, a_server_that_names_an_arena_or_a_slot_that_there_is_not_gets_no_bytes) {
  ASSERT_NO_FATAL_FAILURE(be_client());
  std::vector<std::byte> memory(200'000, std::byte{1});
  Window sink;
  const uint64_t id = expose(sink, Window::Direction::sink, memory);
  GrantBody body;
  body.number = 4;
  body.arena = 77;
  peer->send(frame(FrameKind::grant, id, 0, 150'000), as_bytes(&body, sizeof body));
  std::optional<RawFrame> answer;
  ASSERT_TRUE(until([&] {
    while ((answer = peer->receive()).has_value()) {
      if (answer->header.kind == FrameKind::granted) return true;
    }
    return false;
  }));
  EXPECT_EQ(answer->header.type, 1);  // not taken
  EXPECT_EQ(answer->header.offset, 4u);
  Window source;
  const uint64_t from = expose(source, Window::Direction::source, memory);
  peer->send(frame(FrameKind::stage, from, 0, 4096, kStagingSlots));
  expect_end(StatusCode::invalid);
}

TEST_F(ShmHostile, an_arena_notice_that_is_half_or_without_descriptors_is_no_arena) {
  ASSERT_NO_FATAL_FAILURE(be_client());
  std::byte notice[16] = {};
  store_le<uint32_t>(notice, 9);
  store_le<uint64_t>(notice + 8, 4 * kUnit);
  iovec half{notice, 7};
  peer->socket.write({&half, 1});
  loop.turn(kMs);
  iovec whole{notice, sizeof notice};
  peer->socket.write({&whole, 1});
  loop.turn(kMs);
  auto small = make_shared_memory("arena", kUnit);  // shorter than the notice says
  auto table = make_shared_memory("table", 4096);
  const int descriptors[] = {small->fd(), table->fd()};
  peer->socket.write({&whole, 1}, descriptors);
  loop.turn(kMs);
  std::vector<std::byte> memory(200'000);
  Window window;
  const uint64_t id = expose(window, Window::Direction::sink, memory);
  GrantBody body;
  body.number = 1;
  body.arena = 9;
  peer->send(frame(FrameKind::grant, id, 0, 150'000), as_bytes(&body, sizeof body));
  std::optional<RawFrame> answer;
  ASSERT_TRUE(until([&] {
    while ((answer = peer->receive()).has_value()) {
      if (answer->header.kind == FrameKind::granted) return true;
    }
    return false;
  }));
  EXPECT_EQ(answer->header.type, 1);
}

}  // namespace
}  // namespace gd2fs
