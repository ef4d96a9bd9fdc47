// The client's operations against a cluster in memory, over the simulated network.
#include "client/client.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "sim/memory_cluster.h"
#include "sim/sim_fabric.h"

namespace gd2fs::client {
namespace {

constexpr uint64_t kSeed = 11;
constexpr uint64_t kChunk = MemoryCluster::kChunkBytes;

ClientOptions test_options() {
  ClientOptions options;
  options.controllers = {"tcp://controller:7527"};
  options.locals = {LocalAddress{}};
  options.cluster = "c";
  options.key = MemoryCluster::key();
  options.lanes = 2;
  options.timeout_ns = 3 * kSecond;
  return options;
}

struct Asked {
  Request request;
  std::vector<std::byte> memory;
  bool ended = false;
  uint64_t ended_ns = 0;
  Loop* loop = nullptr;
  Asked() { request.done.bind<&Asked::on_done>(this); }
  void on_done(Completion&) {
    ended = true;
    ended_ns = loop->now_ns();
  }
};

class ClientTest : public ::testing::Test {
 protected:
  ClientTest() { set_log_level(LogLevel::off); }
  ~ClientTest() override {
    client_.cancel_if([](const Request&) { return true; }, Status(StatusCode::canceled),
                      Origin::ctx);
    world_.run_until([&] { return client_.active() == 0; });
    set_log_level(LogLevel::info);
  }

  void connect() {
    struct Flag {
      bool ended = false;
      Status status;
      void on(Completion& done) {
        ended = true;
        status = done.status;
      }
    } flag;
    Completion done;
    done.bind<&Flag::on>(&flag);
    client_.connect(done, 5 * kSecond);
    ASSERT_TRUE(world_.run_until([&] { return flag.ended; }));
    ASSERT_TRUE(flag.status.ok()) << flag.status.to_string();
  }

  std::unique_ptr<Asked> ask(Op op, const std::string& path) {
    auto asked = std::make_unique<Asked>();
    asked->loop = &loop_;
    asked->request.op = op;
    asked->request.path = path;
    return asked;
  }
  std::unique_ptr<Asked> start_read(const std::string& path, uint64_t offset, size_t length) {
    auto asked = ask(Op::read, path);
    asked->memory.assign(length, std::byte{0xee});
    asked->request.offset = offset;
    asked->request.memory.add(asked->memory.data(), length);
    client_.submit(asked->request);
    return asked;
  }
  std::unique_ptr<Asked> start_write(const std::string& path, uint64_t offset,
                                     std::vector<std::byte> bytes) {
    auto asked = ask(Op::write, path);
    asked->memory = std::move(bytes);
    asked->request.offset = offset;
    asked->request.memory.add(asked->memory.data(), asked->memory.size());
    client_.submit(asked->request);
    return asked;
  }
  void finish(Asked& asked) {
    ASSERT_TRUE(world_.run_until([&] { return asked.ended; })) << "seed " << kSeed;
  }
  std::unique_ptr<Asked> read(const std::string& path, uint64_t offset, size_t length) {
    auto asked = start_read(path, offset, length);
    finish(*asked);
    return asked;
  }
  std::unique_ptr<Asked> write(const std::string& path, uint64_t offset,
                               std::vector<std::byte> bytes) {
    auto asked = start_write(path, offset, std::move(bytes));
    finish(*asked);
    return asked;
  }
  std::vector<std::byte> random_bytes(size_t length) {
    std::vector<std::byte> bytes(length);
    random_.fill(bytes);
    return bytes;
  }
  MemoryCluster::Place place(const std::string& node, const std::string& listen, Loop& loop) {
    return {&loop, listen,
            [this, node, &loop] { return std::make_unique<SimFabric>(network_, node, loop); },
            [this, node] { network_.kill(node); }};
  }
  // Answers `status` to the first `times` requests of a type.
  void interfere(msg::Type type, int times, const Status& status) {
    cluster_.interfere = [=, left = times](msg::Type asked) mutable -> std::optional<Status> {
      if (asked != type || left-- <= 0) return std::nullopt;
      return status;
    };
  }

  SimWorld world_{kSeed};
  Random random_{kSeed};
  SimNetwork network_{world_};
  Loop controller_loop_{world_.clock(), Loop::Waits::never};
  SimWorld::Member controller_member_{world_, controller_loop_};
  Loop server_loop_{world_.clock(), Loop::Waits::never};
  SimWorld::Member server_member_{world_, server_loop_};
  MemoryCluster cluster_{place("controller", "tcp://controller:7527", controller_loop_),
                         place("server", "tcp://server:7528", server_loop_)};
  Loop loop_{world_.clock(), Loop::Waits::never};
  SimWorld::Member member_{world_, loop_};
  SimFabric fabric_{network_, "client0", loop_};
  Client client_{loop_, fabric_, Random(kSeed), test_options()};
};

TEST_F(ClientTest, what_was_written_is_read_back_over_many_chunks_at_odd_offsets) {
  connect();
  const auto bytes = random_bytes(20 * kChunk + 12345);
  const auto written = write("/a", 777, bytes);
  ASSERT_TRUE(written->request.status.ok()) << written->request.status.to_string();
  EXPECT_EQ(written->request.value, bytes.size());
  EXPECT_EQ(cluster_.files["/a"].size_bytes, 777 + bytes.size());
  const auto back = read("/a", 777, bytes.size());
  ASSERT_TRUE(back->request.status.ok()) << back->request.status.to_string();
  EXPECT_EQ(back->request.value, bytes.size());
  EXPECT_EQ(back->memory, bytes);
}

TEST_F(ClientTest, a_read_over_several_segments_fills_them_in_order) {
  connect();
  const auto bytes = random_bytes(3 * kChunk);
  (void)write("/a", 0, bytes);
  auto asked = ask(Op::read, "/a");
  asked->memory.assign(bytes.size(), std::byte{0});
  // Backwards in memory: the first third of the file into the last third of the buffer.
  for (int part = 2; part >= 0; --part) {
    asked->request.memory.add(asked->memory.data() + static_cast<size_t>(part) * kChunk, kChunk);
  }
  client_.submit(asked->request);
  finish(*asked);
  ASSERT_EQ(asked->request.value, bytes.size());
  for (size_t part = 0; part < 3; ++part) {
    EXPECT_TRUE(std::equal(bytes.begin() + static_cast<long>(part * kChunk),
                           bytes.begin() + static_cast<long>((part + 1) * kChunk),
                           asked->memory.begin() + static_cast<long>((2 - part) * kChunk)));
  }
}

TEST_F(ClientTest, a_read_ends_at_the_end_of_the_file_and_leaves_the_rest_of_the_buffer_alone) {
  connect();
  (void)write("/a", 0, random_bytes(1000));
  const auto asked = read("/a", 900, 500);
  EXPECT_TRUE(asked->request.status.ok());
  EXPECT_EQ(asked->request.value, 100u);
  EXPECT_EQ(asked->memory[100], std::byte{0xee});
  EXPECT_EQ(read("/a", 5000, 10)->request.value, 0u);
}

TEST_F(ClientTest, a_read_that_goes_on_where_the_last_one_ended_is_a_stream) {
  connect();
  cluster_.make("/a", 64 * kChunk);
  const auto all_are = [&](bool stream, uint64_t offset, size_t length) {
    cluster_.streams.clear();
    EXPECT_TRUE(read("/a", offset, length)->request.status.ok());
    return !cluster_.streams.empty() && std::ranges::count(cluster_.streams, !stream) == 0;
  };
  EXPECT_TRUE(all_are(false, 0, 16 * kChunk));
  EXPECT_TRUE(all_are(true, 16 * kChunk, 16 * kChunk));
  EXPECT_TRUE(all_are(true, 32 * kChunk, 100));
  EXPECT_TRUE(all_are(false, 40 * kChunk, 16 * kChunk));
  EXPECT_TRUE(all_are(false, 40 * kChunk, 100));
  EXPECT_TRUE(all_are(false, 0, 100));
}

TEST_F(ClientTest, a_long_read_that_is_no_stream_says_in_each_message_what_follows) {
  connect();
  cluster_.make("/a", 80 << 20);
  EXPECT_TRUE(read("/a", 0, 100)->request.status.ok());
  EXPECT_TRUE(read("/a", 0, 20 << 20)->request.status.ok());
  EXPECT_TRUE(cluster_.follows.empty());
  EXPECT_TRUE(read("/a", 0, 36 << 20)->request.status.ok());
  std::ranges::sort(cluster_.follows);
  EXPECT_EQ(cluster_.follows, (std::vector<uint64_t>{0, 4 << 20, 12 << 20, 20 << 20, 28 << 20}));
  cluster_.follows.clear();
  EXPECT_TRUE(read("/a", 36 << 20, 36 << 20)->request.status.ok());  // goes on where that ended
  EXPECT_TRUE(cluster_.follows.empty());
}

TEST_F(ClientTest, holes_read_as_zeros) {
  connect();
  cluster_.make("/hole", 3 * kChunk);
  const auto asked = read("/hole", 5, 2 * kChunk);
  EXPECT_EQ(asked->request.value, 2 * kChunk);
  EXPECT_TRUE(std::all_of(asked->memory.begin(), asked->memory.end(),
                          [](std::byte b) { return b == std::byte{0}; }));
}

TEST_F(ClientTest, a_read_that_would_come_out_short_by_a_cached_size_asks_the_controller_first) {
  connect();
  (void)write("/a", 0, random_bytes(100));
  (void)read("/a", 0, 100);
  // Another client extends the file: same generation, longer.
  MemoryCluster::File& file = cluster_.files["/a"];
  file.chunks[0].resize(200, std::byte{7});
  file.size_bytes = file.reserved_bytes = 200;
  const auto asked = read("/a", 0, 200);
  EXPECT_EQ(asked->request.value, 200u);
  EXPECT_EQ(asked->memory[150], std::byte{7});
  // Within the known size nobody is asked.
  const int before = cluster_.asked[msg::Type::lookup];
  (void)read("/a", 0, 200);
  EXPECT_EQ(cluster_.asked[msg::Type::lookup], before);
}

TEST_F(ClientTest, a_missing_file_is_enoent_and_not_remembered) {
  connect();
  const auto missing = read("/later", 0, 10);
  EXPECT_EQ(missing->request.status.code(), StatusCode::not_found);
  EXPECT_EQ(missing->request.origin, Origin::controller);
  cluster_.make("/later", 10);
  EXPECT_EQ(read("/later", 0, 10)->request.value, 10u);
}

TEST_F(ClientTest, a_write_creates_the_file_and_its_size_follows_the_bytes) {
  connect();
  (void)write("/new", 10 * kChunk, random_bytes(5));
  ASSERT_TRUE(cluster_.files.contains("/new"));
  EXPECT_EQ(cluster_.sizes_asked, std::vector<uint64_t>{10 * kChunk + 5});
  // Inside the size neither a reservation nor a size is asked for.
  const int reserves = cluster_.asked[msg::Type::reserve];
  (void)write("/new", 0, random_bytes(50));
  EXPECT_EQ(cluster_.asked[msg::Type::reserve], reserves);
  EXPECT_EQ(cluster_.sizes_asked.size(), 1u);
}

TEST_F(ClientTest, a_thousand_small_reads_of_one_file_share_one_lookup) {
  connect();
  cluster_.make("/a", 4 * kChunk);
  std::vector<std::unique_ptr<Asked>> all;
  for (uint64_t i = 0; i < 2000; ++i) all.push_back(start_read("/a", i * 100, 64));
  for (auto& asked : all) {
    finish(*asked);
    EXPECT_EQ(asked->request.value, 64u);
  }
  EXPECT_EQ(cluster_.asked[msg::Type::lookup], 1);
}

TEST_F(ClientTest, advice_moves_no_bytes_and_counts_those_in_memory) {
  connect();
  cluster_.make("/a", 300 * kChunk + 5);
  const auto advise = [&](Advice advice, uint64_t offset, uint64_t length) {
    auto asked = ask(Op::advise, "/a");
    asked->request.advice = advice;
    asked->request.offset = offset;
    asked->request.advice_bytes = length;
    client_.submit(asked->request);
    finish(*asked);
    EXPECT_TRUE(asked->request.status.ok()) << asked->request.status.to_string();
    return asked->request.value;
  };
  EXPECT_EQ(advise(Advice::query, 0, 0), 0u);
  EXPECT_EQ(advise(Advice::prefetch, 0, 2 * kChunk), 2 * kChunk);
  EXPECT_EQ(advise(Advice::query, 0, 0), 2 * kChunk);
  EXPECT_EQ(advise(Advice::prefetch, 0, 0), 300 * kChunk + 5);
  EXPECT_EQ(advise(Advice::query, 300 * kChunk, 100), 5u);
  EXPECT_EQ(advise(Advice::query, 301 * kChunk, 0), 0u);
  interfere(msg::Type::residency, 1, Status(StatusCode::stale));
  EXPECT_EQ(advise(Advice::query, 0, 0), 300 * kChunk + 5);
  EXPECT_EQ(advise(Advice::drop, 0, 0), 0u);
  EXPECT_EQ(advise(Advice::query, 0, 0), 0u);
}

TEST_F(ClientTest, a_pin_is_set_and_seen) {
  connect();
  cluster_.make("/a", 5);
  const auto pin = [&](const std::string& path, bool pinned) {
    auto asked = ask(Op::setattr, path);
    asked->request.pin = pinned;
    client_.submit(asked->request);
    finish(*asked);
    return asked->request.status;
  };
  EXPECT_TRUE(pin("/a", true).ok());
  EXPECT_TRUE(cluster_.files["/a"].pinned);
  auto stat = ask(Op::stat, "/a");
  client_.submit(stat->request);
  finish(*stat);
  EXPECT_TRUE(stat->request.facts.pinned);
  EXPECT_TRUE(pin("/a", false).ok());
  EXPECT_FALSE(cluster_.files["/a"].pinned);
  EXPECT_TRUE(pin("/b", true).is(StatusCode::not_found));
}

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

TEST_F(ClientTest, quota_is_refused_before_any_byte_moves_and_only_for_who_went_too_far) {
  connect();
  cluster_.quota_bytes = 100;
  auto small = start_write("/a", 0, random_bytes(50));
  auto big = start_write("/a", 0, random_bytes(500));
  finish(*small);
  finish(*big);
  EXPECT_TRUE(small->request.status.ok()) << small->request.status.to_string();
  EXPECT_EQ(big->request.status.errno_value(), EDQUOT);
  EXPECT_EQ(cluster_.files["/a"].size_bytes, 50u);
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

TEST_F(ClientTest, a_set_size_that_finds_the_file_cut_counts_as_before_the_cut) {
  connect();
  cluster_.make("/a", 1000);
  cluster_.interfere = [&](msg::Type type) -> std::optional<Status> {
    if (type != msg::Type::set_size) return std::nullopt;
    // A truncate got in between the bytes and the size.
    MemoryCluster::File& file = cluster_.files["/a"];
    ++file.generation;
    file.size_bytes = file.reserved_bytes = 10;
    cluster_.interfere = nullptr;
    return Status(StatusCode::stale);
  };
  const auto asked = write("/a", 990, random_bytes(100));
  EXPECT_TRUE(asked->request.status.ok()) << asked->request.status.to_string();
  EXPECT_EQ(cluster_.files["/a"].size_bytes, 10u);
  EXPECT_TRUE(cluster_.sizes_asked.empty());
}

TEST_F(ClientTest, a_set_size_whose_outcome_is_open_says_so) {
  connect();
  cluster_.make("/a", 1000);
  cluster_.interfere = [&](msg::Type type) -> std::optional<Status> {
    if (type != msg::Type::set_size) return std::nullopt;
    ++cluster_.files["/a"].generation;  // renamed there and back
    cluster_.interfere = nullptr;
    return Status(StatusCode::stale);
  };
  EXPECT_EQ(write("/a", 990, random_bytes(100))->request.status.code(), StatusCode::stale);
}

TEST_F(ClientTest, names_are_created_once_and_removed) {
  connect();
  auto create = ask(Op::create, "/n");
  create->request.size_bytes = 4096;
  client_.submit(create->request);
  finish(*create);
  ASSERT_TRUE(create->request.status.ok());
  auto again = ask(Op::create, "/n");
  client_.submit(again->request);
  finish(*again);
  EXPECT_EQ(again->request.status.errno_value(), EEXIST);
  auto facts = ask(Op::stat, "/n");
  client_.submit(facts->request);
  finish(*facts);
  EXPECT_EQ(facts->request.facts.size_bytes, 4096u);
  EXPECT_EQ(facts->request.facts.chunk_bytes, kChunk);
  auto unlink = ask(Op::unlink, "/n");
  client_.submit(unlink->request);
  finish(*unlink);
  EXPECT_TRUE(unlink->request.status.ok());
  EXPECT_EQ(read("/n", 0, 1)->request.status.code(), StatusCode::not_found);
}

TEST_F(ClientTest, more_mutations_than_the_controller_remembers_wait_for_their_turn) {
  connect();
  std::vector<std::unique_ptr<Asked>> all;
  for (int i = 0; i < 2000; ++i) {
    all.push_back(ask(Op::create, "/many/" + std::to_string(i)));
    client_.submit(all.back()->request);
  }
  for (auto& asked : all) {
    finish(*asked);
    EXPECT_TRUE(asked->request.status.ok()) << asked->request.status.to_string();
  }
}

TEST_F(ClientTest, a_controller_that_restarts_is_found_again) {
  connect();
  cluster_.stop_controller();
  auto asked = start_write("/a", 0, random_bytes(10));
  world_.run_for_ns(500 * kMs);
  EXPECT_FALSE(asked->ended);
  cluster_.start_controller();
  finish(*asked);
  EXPECT_TRUE(asked->request.status.ok()) << asked->request.status.to_string();
}

TEST_F(ClientTest, a_controller_that_hangs_is_left_for_another_while_there_is_time) {
  // The first address answers the map and then nothing any more.
  Loop second_loop(world_.clock(), Loop::Waits::never);
  SimWorld::Member second_member(world_, second_loop);
  MemoryCluster second(place("second", "tcp://second:7527", second_loop),
                       place("second-server", "tcp://second-server:7528", second_loop));
  ClientOptions options = test_options();
  options.controllers = {"tcp://controller:7527", "tcp://second:7527"};
  Client client(loop_, fabric_, Random(1), options);
  struct Flag {
    bool ended = false;
    void on(Completion&) { ended = true; }
  } flag;
  Completion done;
  done.bind<&Flag::on>(&flag);
  client.connect(done, 5 * kSecond);
  ASSERT_TRUE(world_.run_until([&] { return flag.ended; }));
  cluster_.interfere = [](msg::Type) { return Status(StatusCode::canceled); };
  auto asked = ask(Op::create, "/hung");
  client.submit(asked->request);
  finish(*asked);
  EXPECT_TRUE(asked->request.status.ok()) << asked->request.status.to_string();
  EXPECT_TRUE(second.files.contains("/hung"));
}

TEST_F(ClientTest, a_file_of_the_wrong_shape_or_range_is_refused_by_the_client) {
  connect();
  cluster_.make("/a", 10);
  const auto asked = write("/a", uint64_t{1} << 60, random_bytes(10));
  EXPECT_EQ(asked->request.status.errno_value(), EFBIG);
  EXPECT_EQ(asked->request.origin, Origin::request);
}

}  // namespace
}  // namespace gd2fs::client
