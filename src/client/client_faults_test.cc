// What the client makes of stale and busy answers, of servers that fail, hang and come back, of
// files replaced under way, and of requests canceled.
#include <algorithm>
#include <utility>

#include "client/client_fixture.h"

namespace gd2fs::client {
namespace {

TEST_F(ClientTest, a_stale_answer_resolves_again_and_the_read_starts_over) {
  connect();
  (void)write("/a", 0, random_bytes(kChunk));
  (void)read("/a", 0, 10);
  cluster_.replace("/a");
  cluster_.files["/a"].chunks[0].assign(kChunk, std::byte{9});
  const auto asked = read("/a", 0, kChunk);
  ASSERT_TRUE(asked->request.status.ok()) << asked->request.status.to_string();
  EXPECT_EQ(asked->memory[0], std::byte{9});
}

// Lists of many pieces give way between two batches: what comes meanwhile may be a stale answer.
TEST_F(ClientTest, a_stale_answer_among_long_batches_waits_for_those_that_are_under_way) {
  network_.faults.delay_min_ns = 0;  // so that answers come while batches are being made
  network_.faults.delay_max_ns = 0;
  connect();
  constexpr uint64_t kPiece = 4096;
  const auto bytes = random_bytes(40 << 20);
  ASSERT_TRUE(write("/a", 0, bytes)->request.status.ok());
  for (int before = 0; before < 8; ++before) {
    cluster_.interfere = [asked = 0, before](msg::Type type) mutable -> std::optional<Status> {
      if (type != msg::Type::read || asked++ != before) return std::nullopt;
      return Status(StatusCode::stale);
    };
    auto asked = ask(Op::read, "/a");
    asked->memory.assign(bytes.size(), std::byte{0xee});
    // From the last to the first, so that none is the neighbour of the next.
    for (uint64_t at = bytes.size(); at > 0; at -= kPiece) {
      asked->request.memory.add(asked->memory.data() + at - kPiece, kPiece);
    }
    client_.submit(asked->request);
    finish(*asked);
    ASSERT_TRUE(asked->request.status.ok()) << asked->request.status.to_string();
    EXPECT_EQ(asked->request.value, bytes.size()) << before;
    for (uint64_t at = 0; at < bytes.size(); at += kPiece) {
      const auto* const got = asked->memory.data() + bytes.size() - kPiece - at;
      ASSERT_TRUE(std::equal(got, got + kPiece, bytes.data() + at)) << before;
    }
  }
}

TEST_F(ClientTest, an_unlinked_file_is_enoent_for_who_had_it_cached) {
  connect();
  (void)write("/a", 0, random_bytes(10));
  cluster_.files.erase("/a");
  EXPECT_EQ(read("/a", 0, 10)->request.status.code(), StatusCode::not_found);
}

TEST_F(ClientTest, busy_and_unavailable_are_retried_until_they_pass) {
  connect();
  (void)write("/a", 0, random_bytes(10));
  interfere(msg::Type::read, 5, Status(StatusCode::busy));
  EXPECT_EQ(read("/a", 0, 10)->request.value, 10u);
  interfere(msg::Type::write, 5, Status(StatusCode::unavailable));
  EXPECT_EQ(write("/a", 0, random_bytes(10))->request.value, 10u);
  interfere(msg::Type::lookup, 3, Status(StatusCode::busy));
  EXPECT_EQ(write("/b", 0, random_bytes(10))->request.value, 10u);
}

TEST_F(ClientTest, other_failures_of_a_server_end_the_request_with_their_errno) {
  connect();
  (void)write("/a", 0, random_bytes(10));
  interfere(msg::Type::write, 1, Status(StatusCode::no_space));
  auto asked = write("/a", 0, random_bytes(10));
  EXPECT_EQ(asked->request.status.errno_value(), ENOSPC);
  EXPECT_EQ(asked->request.origin, Origin::server);
  EXPECT_EQ(asked->request.value, 0u);
  interfere(msg::Type::read, 1, Status(StatusCode::corrupt, "block 3"));
  EXPECT_EQ(read("/a", 0, 10)->request.status.code(), StatusCode::corrupt);
  EXPECT_TRUE(read("/a", 0, 10)->request.status.ok());
}

TEST_F(ClientTest, a_broken_connection_is_made_anew_and_each_piece_is_executed_once) {
  connect();
  const auto bytes = random_bytes(64 * kChunk);
  auto asked = start_write("/a", 0, bytes);
  for (int i = 0; i < 20 && !asked->ended; ++i) {
    world_.run_for_ns(200 * kUs);
    network_.reset_sessions("client0", "server");
  }
  finish(*asked);
  ASSERT_TRUE(asked->request.status.ok()) << asked->request.status.to_string();
  EXPECT_EQ(cluster_.write_tags.size(), 64u);
  const auto back = read("/a", 0, bytes.size());
  EXPECT_EQ(back->memory, bytes);
}

TEST_F(ClientTest, a_server_that_is_down_ends_requests_in_time_and_serves_again_after_its_restart) {
  connect();
  (void)write("/a", 0, random_bytes(10));
  cluster_.stop_server();
  const uint64_t begin_ns = world_.clock().now_ns();
  const auto asked = read("/a", 0, 10);
  EXPECT_EQ(asked->request.status.code(), StatusCode::unavailable);
  EXPECT_EQ(asked->request.status.errno_value(), EHOSTUNREACH);
  // The caller waits with the same 3000 ms and expects its request by then.
  EXPECT_LT(asked->ended_ns - begin_ns, 3 * kSecond);
  EXPECT_GT(asked->ended_ns - begin_ns, 2 * kSecond);
  cluster_.start_server();
  EXPECT_EQ(read("/a", 0, 10)->request.value, 10u);
}

// It does not know the cluster yet, or its device is not ready.
TEST_F(ClientTest, a_server_that_was_down_for_long_and_refuses_once_is_asked_again) {
  connect();
  (void)write("/a", 0, random_bytes(10));
  cluster_.stop_server();
  const auto asked = start_read("/a", 0, 10);
  world_.run_for_ns(800 * kMs);  // seven tries at least
  int refused = 0;
  {
    SimFabric starting(network_, "server", server_loop_);
    ListenOptions options;
    options.keys = [&](PeerRole, std::string_view) {
      ++refused;
      return std::vector<std::string>();
    };
    const auto listener = starting.listen("tcp://server:7528", std::move(options), nullptr);
    ASSERT_TRUE(listener.has_value());
    ASSERT_TRUE(world_.run_until([&] { return refused == 1; }));
  }
  cluster_.start_server();
  finish(*asked);
  EXPECT_TRUE(asked->request.status.ok()) << asked->request.status.to_string();
}

TEST_F(ClientTest, a_server_that_answers_nothing_ends_requests_with_etimedout) {
  connect();
  (void)write("/a", 0, random_bytes(10));
  interfere(msg::Type::read, 1000, Status(StatusCode::canceled));
  const uint64_t begin_ns = world_.clock().now_ns();
  const auto asked = read("/a", 0, 10);
  EXPECT_EQ(asked->request.status.code(), StatusCode::timed_out);
  EXPECT_LT(asked->ended_ns - begin_ns, 3 * kSecond);
  EXPECT_EQ(cluster_.asked[msg::Type::cancel], 0);  // still under way
  world_.run_for_ns(10 * kMs);
  EXPECT_EQ(cluster_.asked[msg::Type::cancel], 1);
}

TEST_F(ClientTest, a_canceled_read_completes_at_once_and_no_byte_lands_after) {
  connect();
  (void)write("/a", 0, std::vector<std::byte>(200 * kChunk, std::byte{1}));
  auto asked = start_read("/a", 0, 200 * kChunk);
  world_.run_for_ns(300 * kUs);
  ASSERT_FALSE(asked->ended);
  client_.cancel(asked->request, Status(StatusCode::canceled), Origin::request);
  finish(*asked);
  EXPECT_EQ(asked->request.status.code(), StatusCode::canceled);
  std::fill(asked->memory.begin(), asked->memory.end(), std::byte{0x5a});
  world_.run_for_ns(1 * kSecond);
  EXPECT_TRUE(std::all_of(asked->memory.begin(), asked->memory.end(),
                          [](std::byte b) { return b == std::byte{0x5a}; }));
  EXPECT_GT(network_.late_stripes(), 0u);  // there were bytes to refuse
}

TEST_F(ClientTest, a_request_may_be_canceled_at_any_moment_and_completes_once) {
  connect();
  for (int round = 0; round < 200; ++round) {
    cluster_.files.erase("/x");
    auto written = start_write("/x", 0, random_bytes(random_.below(40 * kChunk) + 1));
    auto other = start_read("/x", 0, 10 * kChunk);
    world_.run_for_ns(random_.below(2 * kMs));
    for (Asked* asked : {written.get(), other.get()}) {
      if (!asked->ended) {
        client_.cancel(asked->request, Status(StatusCode::canceled), Origin::request);
      }
    }
    finish(*written);
    finish(*other);
    EXPECT_EQ(client_.active(), 0u);
  }
}

TEST_F(ClientTest, a_write_goes_on_under_a_new_generation_with_the_same_sequences) {
  connect();
  cluster_.make("/a", 100 * kChunk);
  auto asked = start_write("/a", 0, random_bytes(100 * kChunk));
  world_.run_for_ns(400 * kUs);
  ASSERT_FALSE(asked->ended);
  cluster_.raise_generation("/a");
  finish(*asked);
  ASSERT_TRUE(asked->request.status.ok()) << asked->request.status.to_string();
  EXPECT_EQ(read("/a", 0, 100 * kChunk)->memory, asked->memory);
  EXPECT_EQ(cluster_.write_tags.size(), 100u);
}

TEST_F(ClientTest,
       a_write_to_a_file_that_was_replaced_half_way_fails_rather_than_happen_in_halves) {
  connect();
  constexpr uint64_t kBytes = Peer::kWriteCreditBytes * 3 / 2;  // never all under way at once
  cluster_.make("/a", kBytes);
  auto asked = start_write("/a", 0, random_bytes(kBytes));
  ASSERT_TRUE(world_.run_until([&] { return cluster_.write_tags.size() > 300; }));
  ASSERT_FALSE(asked->ended);
  cluster_.replace("/a");
  finish(*asked);
  EXPECT_EQ(asked->request.status.code(), StatusCode::not_found);
}

// `unavailable` may hide that the write is on the drive, and a server that does not know the handle
// has not looked: to write to the new file as well would be twice.
TEST_F(ClientTest, a_write_that_may_have_reached_a_file_that_was_replaced_since_fails) {
  connect();
  for (const bool unsure : {false, true}) {
    cluster_.make("/a", 1000);
    (void)read("/a", 0, 1);  // its layout is known
    cluster_.interfere = [&, first = unsure](msg::Type type) mutable -> std::optional<Status> {
      if (type != msg::Type::write) return std::nullopt;
      if (std::exchange(first, false)) return Status(StatusCode::unavailable);
      cluster_.interfere = nullptr;
      cluster_.replace("/a");
      return Status(StatusCode::stale, "the capability has expired", EBADF);
    };
    const auto asked = write("/a", 0, random_bytes(10));
    EXPECT_EQ(asked->request.status.code(), unsure ? StatusCode::not_found : StatusCode::ok);
  }
}

}  // namespace
}  // namespace gd2fs::client
