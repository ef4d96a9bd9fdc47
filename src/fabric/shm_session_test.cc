// Grants, leases, staging and the ways out of shared memory.
#include "fabric/shm_session.h"

#include <thread>

#include <sys/mman.h>
#include <sys/stat.h>

#include "fabric/same_host.h"
#include "fabric/shm_fixture.h"
#include "wire/message.h"

namespace gd2fs {
namespace {

constexpr uint64_t kUnit = kGenerationUnitBytes;

TEST_F(ShmWorld, bytes_of_an_arena_are_granted_and_copied_by_the_client) {
  ASSERT_NO_FATAL_FAILURE(join());
  EXPECT_EQ(client.session->path(), "shm");
  TestArena arena(9);
  for (const size_t size : {5'000u, 65'536u, 524'288u, 3'000'001u}) {
    random.fill(arena.bytes(kUnit, size));
    arena.set(kUnit, size, 5);
    std::vector<std::byte> to(size);
    Window window;
    const uint64_t id = request(window, Window::Direction::sink, to);
    PushFlag push(id, 0, arena.bytes(kUnit, size));
    push.crc = 0;  // nobody looks at it: the bytes were checked when they came into the arena
    place(push, arena, kUnit, 5);
    server().session->push(push);
    EXPECT_FALSE(push.finished);
    client.replies.clear();
    ASSERT_TRUE(server().session->reply(kType, id, {}).ok());
    ASSERT_TRUE(until([&] { return client.replies.size() == 1; })) << size;
    EXPECT_TRUE(std::ranges::equal(to, arena.bytes(kUnit, size))) << size;
    EXPECT_EQ(window.moved_bytes, size);
    // The client's word frees the page, long before the lease ends.
    const uint64_t from_ns = clock.now_ns();
    ASSERT_TRUE(until([&] { return push.finished; }));
    EXPECT_TRUE(push.status.ok());
    EXPECT_LT(clock.now_ns() - from_ns, 500 * kMs);
    Flag flag;
    client.session->withdraw(window, flag.done);
    ASSERT_TRUE(until([&] { return flag.finished; }));
  }
}

TEST_F(ShmWorld, a_long_read_may_be_granted_in_pieces_of_any_length_and_order) {
  ASSERT_NO_FATAL_FAILURE(join());
  TestArena arena(9);
  const size_t size = (2 << 20) + 12'345;
  random.fill(arena.bytes(kUnit, size));
  arena.set(kUnit, size, 5);
  std::vector<std::byte> to(size + 3);
  Window window;
  window.segments = {{to.data() + 1, 700'001}, {to.data() + 700'003, size - 700'001}};
  window.request_id = client.session->next_request_id();
  client.session->expose(window);
  ASSERT_TRUE(client.session->send(kType, window.request_id, {}, &window).ok());
  ASSERT_TRUE(until([&] { return !server().messages.empty(); }));
  std::vector<std::unique_ptr<PushFlag>> pushes;
  for (uint64_t at = 0; at < size;) {
    const uint64_t length = std::min<uint64_t>(random.between(4097, 120'000), size - at);
    pushes.push_back(
        std::make_unique<PushFlag>(window.request_id, at, arena.bytes(kUnit + at, length)));
    place(*pushes.back(), arena, kUnit + at, 5);
    at += length;
  }
  for (size_t i = pushes.size(); i > 1; --i) std::swap(pushes[i - 1], pushes[random.below(i)]);
  for (const auto& push : pushes) server().session->push(*push);
  ASSERT_TRUE(server().session->reply(kType, window.request_id, {}).ok());
  ASSERT_TRUE(until([&] { return client.replies.size() == 1; }));
  const Bytes from = arena.bytes(kUnit, size);
  EXPECT_TRUE(std::equal(from.begin(), from.begin() + 700'001, to.begin() + 1));
  EXPECT_TRUE(std::equal(from.begin() + 700'001, from.end(), to.begin() + 700'003));
  EXPECT_EQ(to[0], std::byte{0});
  EXPECT_EQ(to[700'002], std::byte{0});
  ASSERT_TRUE(until([&] {
    return std::ranges::all_of(pushes, [](const auto& push) { return push->finished; });
  }));
  Flag flag;
  client.session->withdraw(window, flag.done);
  ASSERT_TRUE(until([&] { return flag.finished; }));
}

TEST_F(ShmWorld, a_page_that_was_recycled_is_never_delivered_as_what_it_was) {
  ASSERT_NO_FATAL_FAILURE(join());
  TestArena arena(9);
  const size_t size = 200'000;
  arena.set(0, size, 5);
  std::vector<std::byte> to(size);
  Window window;
  const uint64_t id = request(window, Window::Direction::sink, to);
  PushFlag push(id, 0, arena.bytes(0, size));
  place(push, arena, 0, 5);
  server().session->push(push);
  ASSERT_TRUE(server().session->reply(kType, id, {}).ok());
  // The grant lies in the ring. Before the client comes to it the lease ends and the page goes.
  arena.set(0, size, 0);
  std::memset(arena.bytes(0, size).data(), 0xEE, size);
  arena.set(0, size, 6);
  // A server that is whole never does so to a page it holds. What it still holds it sends through
  // the ring when it is asked again, with the crc of the right bytes: there the damage is seen.
  ASSERT_TRUE(until([&] { return client.closed.has_value() || !client.replies.empty(); }));
  EXPECT_TRUE(client.replies.empty());
  ASSERT_TRUE(client.closed.has_value());
  EXPECT_TRUE(client.closed->is(StatusCode::corrupt)) << client.closed->to_string();
}

TEST_F(ShmWorld, bytes_that_the_server_let_go_end_the_request_as_busy) {
  ASSERT_NO_FATAL_FAILURE(join());
  TestArena arena(9);
  for (const size_t size : {20'000u, 300'000u}) {
    SCOPED_TRACE(size);
    std::memset(arena.bytes(0, size).data(), 0x11, size);
    arena.set(0, size, 5);
    std::vector<std::byte> to(size);
    Window window;
    const uint64_t id = request(window, Window::Direction::sink, to);
    // Granted in an arena whose page is already another: as if the client had been stopped.
    PushFlag push(id, 0, arena.bytes(0, size));
    place(push, arena, 0, 4);
    server().session->push(push);
    server().session->drop_request(id);  // the server does not hold it
    ASSERT_TRUE(until([&] { return push.finished; }));
    client.replies.clear();
    run_for_ns(20 * kMs);
    EXPECT_NE(window.moved_bytes, size);  // it does not count as delivered
    Flag flag;
    client.session->withdraw(window, flag.done);
    ASSERT_TRUE(until([&] { return flag.finished; }));
    EXPECT_FALSE(client.closed.has_value());
  }
}

TEST_F(ShmWorld, a_lease_ends_whether_or_not_the_client_moves_and_the_reply_says_busy) {
  ASSERT_NO_FATAL_FAILURE(join());
  // A client of its own thread would answer; this one is stopped: only the server's half is driven,
  // by a loop of its own.
  Loop client_loop(clock, Loop::Waits::epoll);
  ShmFabric client_fabric(client_loop, worker);
  Side stopped;
  Connected out;
  ConnectOptions options = options_to(listener->address());
  options.events = &stopped;
  client_loop.spawn(run_connect(&client_fabric, std::move(options), &out));
  ASSERT_TRUE(until([&] {
    client_loop.turn(0);
    return out.has_value() && accepted.size() == 2;
  }));
  ASSERT_TRUE(out->has_value()) << out->error().to_string();
  stopped.session = std::move(**out);
  Side& serving = accepted.back();
  TestArena arena(9);
  const size_t size = 400'000;
  std::memset(arena.bytes(0, size).data(), 0x11, size);
  arena.set(0, size, 5);
  std::vector<std::byte> to(size);
  Window window;
  window.segments = {{to.data(), to.size()}};
  window.request_id = stopped.session->next_request_id();
  stopped.session->expose(window);
  ASSERT_TRUE(stopped.session->send(kType, window.request_id, {}, &window).ok());
  ASSERT_TRUE(until([&] {
    client_loop.turn(0);
    return serving.messages.size() == 1;
  }));
  PushFlag push(window.request_id, 0, arena.bytes(0, size));
  place(push, arena, 0, 5);
  const uint64_t from_ns = clock.now_ns();
  serving.session->push(push);
  ASSERT_TRUE(serving.session->reply(kType, window.request_id, {}).ok());
  ASSERT_TRUE(until([&] { return push.finished; }));
  EXPECT_TRUE(push.status.ok());
  EXPECT_LT(clock.now_ns() - from_ns, 1500 * kMs);
  // Freed: somebody else's bytes lie there when the client wakes up.
  arena.set(0, size, 0);
  std::memset(arena.bytes(0, size).data(), 0xEE, size);
  arena.set(0, size, 8);
  ASSERT_TRUE(until([&] {
    client_loop.turn(0);
    return stopped.replies.size() == 1;
  }));
  EXPECT_EQ(stopped.replies[0].type, static_cast<uint16_t>(msg::Type::error));
  EXPECT_TRUE(open_error(stopped.replies[0].body).is(StatusCode::busy));
  EXPECT_FALSE(stopped.closed.has_value());
  stopped.session.reset();
}

TEST_F(ShmWorld, nothing_is_copied_into_a_window_that_was_withdrawn) {
  ASSERT_NO_FATAL_FAILURE(join());
  TestArena arena(9, 256);
  const size_t piece = 512 * 1024;
  const size_t size = 16'000'000;
  random.fill(arena.bytes(0, size));
  arena.set(0, size, 5);
  for (int round = 0; round < 30; ++round) {
    std::vector<std::byte> to(size);
    Window window;
    const uint64_t id = request(window, Window::Direction::sink, to);
    std::list<PushFlag> pushes;
    for (size_t at = 0; at < size; at += piece) {
      PushFlag& push = pushes.emplace_back(id, at, arena.bytes(at, std::min(piece, size - at)));
      place(push, arena, at, 5);
      server().session->push(push);
    }
    ASSERT_TRUE(server().session->reply(kType, id, {}).ok());
    const uint64_t stop_at = random.below(size);
    ASSERT_TRUE(until([&] { return window.moved_bytes >= stop_at; }));
    Flag flag;
    client.session->withdraw(window, flag.done);
    ASSERT_TRUE(until([&] { return flag.finished; }));
    std::ranges::fill(to, std::byte{0x77});
    ASSERT_TRUE(until([&] {
      return std::ranges::all_of(pushes, [](const PushFlag& push) { return push.finished; });
    }));
    EXPECT_TRUE(std::ranges::all_of(to, [](std::byte b) { return b == std::byte{0x77}; }));
    EXPECT_FALSE(client.closed.has_value());
  }
}

TEST_F(ShmWorld, closing_in_the_middle_of_copies_ends_them_first) {
  for (int round = 0; round < 10; ++round) {
    ASSERT_NO_FATAL_FAILURE(join());
    TestArena arena(9, 256);
    const size_t size = 16'000'000;
    arena.set(0, size, 5);
    auto to = std::make_unique<std::vector<std::byte>>(size);
    Window window;
    const uint64_t id = request(window, Window::Direction::sink, *to);
    std::list<PushFlag> pushes;
    for (size_t at = 0; at < size; at += 512 * 1024) {
      PushFlag& push =
          pushes.emplace_back(id, at, arena.bytes(at, std::min<size_t>(512 * 1024, size - at)));
      place(push, arena, at, 5);
      server().session->push(push);
    }
    const uint64_t stop_at = random.below(size);
    ASSERT_TRUE(until([&] { return window.moved_bytes >= stop_at; }));
    if (round % 2 == 0) {
      client.session->close(Status(StatusCode::canceled, "enough"));
      ASSERT_TRUE(until([&] { return client.closed.has_value(); }));
      client.session.reset();
    } else {
      client.session.reset();  // waits itself
    }
    to.reset();  // touched again, a sanitizer would see it
    ASSERT_TRUE(until([&] { return server().closed.has_value(); }));
    EXPECT_TRUE(std::ranges::all_of(pushes, [](const PushFlag& push) { return push.finished; }));
    accepted.clear();
    listener.reset();
    client.closed.reset();
  }
}

TEST_F(ShmWorld, a_death_of_the_client_frees_what_was_granted_at_once) {
  ASSERT_NO_FATAL_FAILURE(join());
  TestArena arena(9);
  arena.set(0, 100'000, 5);
  std::vector<std::byte> to(100'000);
  Window window;
  const uint64_t id = request(window, Window::Direction::sink, to);
  PushFlag push(id, 0, arena.bytes(0, 100'000));
  place(push, arena, 0, 5);
  server().session->push(push);
  client.session.reset();
  const uint64_t from_ns = clock.now_ns();
  ASSERT_TRUE(until([&] { return push.finished; }));
  EXPECT_TRUE(push.status.is(StatusCode::unavailable)) << push.status.to_string();
  EXPECT_LT(clock.now_ns() - from_ns, 500 * kMs);
}

TEST_F(ShmWorld, an_arena_that_cannot_be_trusted_is_declined_and_its_bytes_come_through_the_ring) {
  ASSERT_NO_FATAL_FAILURE(join());
  TestArena arena(9);
  // Its maker could cut it off, and our next look would be a SIGBUS.
  Descriptor unsealed(memfd_create("unsealed", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(unsealed.fd(), static_cast<off_t>(arena.shared->length_bytes)), 0);
  arena.shared->fd = unsealed.fd();
  const size_t size = 150'000;
  random.fill(arena.bytes(0, size));
  arena.set(0, size, 5);
  for (int round = 0; round < 2; ++round) {
    std::vector<std::byte> to(size);
    Window window;
    const uint64_t id = request(window, Window::Direction::sink, to);
    PushFlag push(id, 0, arena.bytes(0, size));
    place(push, arena, 0, 5);
    server().session->push(push);
    client.replies.clear();
    ASSERT_TRUE(server().session->reply(kType, id, {}).ok());
    ASSERT_TRUE(until([&] { return client.replies.size() == 1; }));
    EXPECT_TRUE(std::ranges::equal(to, arena.bytes(0, size)));
    ASSERT_TRUE(until([&] { return push.finished; }));
  }
}

TEST_F(ShmWorld, more_is_pulled_at_once_than_there_are_staging_slots) {
  ASSERT_NO_FATAL_FAILURE(join());
  const size_t size = 12'000'000;
  std::vector<std::vector<std::byte>> sources;
  std::list<Window> windows;
  std::list<std::vector<std::byte>> targets;
  std::list<PullFlag> pulls;
  for (int i = 0; i < 4; ++i) {
    sources.push_back(random_bytes(random, size));
    const uint64_t id = request(windows.emplace_back(), Window::Direction::source, sources.back());
    pulls.emplace_back(id, 0, targets.emplace_back(size));
    server().session->pull(pulls.back());
  }
  ASSERT_TRUE(until([&] {
    return std::ranges::all_of(pulls, [](const PullFlag& pull) { return pull.finished; });
  }));
  auto target = targets.begin();
  for (int i = 0; i < 4; ++i, ++target) EXPECT_TRUE(*target == sources[i]) << i;
}

TEST_F(ShmWorld, without_a_door_or_without_its_secret_it_is_tcp_or_an_error_if_shm_is_required) {
  ASSERT_NO_FATAL_FAILURE(listen(""));
  Status status = connect(options_to(listener->address()));
  EXPECT_TRUE(status.is(StatusCode::unsupported)) << status.to_string();
  ConnectOptions options = options_to(listener->address());
  options.same_host = SameHost::allowed;
  ASSERT_TRUE(connect(options).ok());
  EXPECT_EQ(client.session->path(), "tcp");
  client.session.reset();
  ASSERT_NO_FATAL_FAILURE(listen(door()));
  ASSERT_EQ(unlink((door() + "/secret").c_str()), 0);
  status = connect(options_to(listener->address()));
  EXPECT_TRUE(status.is(StatusCode::unavailable)) << status.to_string();
  options = options_to(listener->address());
  options.same_host = SameHost::allowed;
  ASSERT_TRUE(connect(options).ok());
  EXPECT_EQ(client.session->path(), "tcp");
  options.same_host = SameHost::off;
  ASSERT_TRUE(connect(options).ok());
  EXPECT_EQ(client.session->path(), "tcp");
}

TEST_F(ShmWorld, a_directory_that_others_may_write_to_is_no_place_for_a_door) {
  ASSERT_EQ(mkdir(door().c_str(), 0755), 0);
  ASSERT_EQ(chmod(door().c_str(), 0777), 0);
  EXPECT_TRUE(make_host_door(door()).error().is(StatusCode::denied));
  ASSERT_NO_FATAL_FAILURE(listen(door()));  // goes on with TCP
  ConnectOptions options = options_to(listener->address());
  options.same_host = SameHost::allowed;
  ASSERT_TRUE(connect(options).ok());
  EXPECT_EQ(client.session->path(), "tcp");
}

TEST_F(ShmWorld, a_server_that_says_nothing_is_given_up_in_time) {
  const auto loopback = resolve({"127.0.0.1", 0}, Resolve::numeric_only);
  auto silent = TcpSocket::listen(loopback->front());
  ASSERT_TRUE(silent.has_value());
  ConnectOptions options = options_to(socket_address_of(silent->fd())->to_string());
  options.timeout_ns = 50 * kMs;
  EXPECT_TRUE(connect(options).is(StatusCode::timed_out));
}

TEST_F(ShmWorld, an_idle_pair_sleeps) {
  ASSERT_NO_FATAL_FAILURE(join());
  run_for_ns(20 * kMs);
  size_t turns = 0;
  const uint64_t end_ns = clock.now_ns() + 300 * kMs;
  while (clock.now_ns() < end_ns) {
    loop.turn(end_ns - clock.now_ns(), 50 * kUs);
    ++turns;
  }
  EXPECT_LT(turns, 20u);
  // And is woken: the bell is on the socket.
  const uint64_t id = client.session->next_request_id();
  ASSERT_TRUE(client.session->send(kType, id, {}).ok());
  ASSERT_TRUE(until([&] { return server().messages.size() == 1; }));
}

}  // namespace
}  // namespace gd2fs
