// What fabric.h promises, tested over every fabric there is.
#include <list>

#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "fabric/conformance_pair.h"
#include "fabric/conformance_pairs.h"
#include "fabric/reply.h"
#include "wire/message.h"

namespace gd2fs {
namespace {

constexpr uint16_t kType = static_cast<uint16_t>(msg::Type::read);
constexpr char kKey[] = "0123456789abcdef0123456789abcdef";

std::vector<std::byte> body_of(uint64_t number) {
  std::vector<std::byte> body(8);
  store_le(body.data(), number);
  return body;
}
uint64_t number_of(ConstBytes body) {
  return load_le<uint64_t>(body.data());
}

class Conformance : public testing::TestWithParam<MakePair> {
 protected:
  std::unique_ptr<FabricPair> pair = GetParam().make(1);
  Random random{7};
  std::list<Side> accepted;
  std::unique_ptr<Listener> listener;
  Side client;
  std::vector<std::string> keys{kKey};

  ~Conformance() override { end(); }
  void end() {
    client.session.reset();
    for (Side& side : accepted) side.session.reset();
    listener.reset();
  }
  // With another pair, after the first.
  void begin_again(uint64_t seed) {
    end();
    pair.reset();
    pair = GetParam().make(seed);
    accepted.clear();
    client.closed.reset();
    client.times_closed = 0;
  }

  void listen(uint32_t sessions_max = 100) {
    ListenOptions options;
    options.server_id = 3;
    options.incarnation = 77;
    options.sessions_max = sessions_max;
    options.same_host_directory = pair->same_host_directory();
    options.keys = [this](PeerRole role, std::string_view cluster) {
      return role == PeerRole::client && cluster == "kv" ? keys : std::vector<std::string>();
    };
    auto result = pair->server().listen(pair->listen_address(), std::move(options),
                                        [this](std::unique_ptr<Session> session) {
                                          Side& side = accepted.emplace_back();
                                          side.session = std::move(session);
                                          side.session->set_events(&side);
                                        });
    ASSERT_TRUE(result.has_value()) << result.error().to_string();
    listener = std::move(*result);
  }
  ConnectOptions options_to(const std::string& address) {
    ConnectOptions options;
    options.address = address;
    options.cluster = "kv";
    options.key = kKey;
    options.incarnation = 42;
    options.lanes = 3;
    if (!pair->same_host_directory().empty()) options.same_host = SameHost::required;
    return options;
  }
  static Task<void> run_connect(Fabric* fabric, ConnectOptions options,
                                std::optional<Result<std::unique_ptr<Session>>>* out) {
    auto result = co_await fabric->connect(std::move(options));
    out->emplace(std::move(result));
  }
  Status connect(Side& side, ConnectOptions options) {
    options.events = &side;
    std::optional<Result<std::unique_ptr<Session>>> out;
    pair->client_loop().spawn(run_connect(&pair->client(), std::move(options), &out));
    EXPECT_TRUE(pair->run_until([&] { return out.has_value(); }));
    if (!out->has_value()) return out->error();
    side.session = std::move(**out);
    return {};
  }
  // The usual: one client session and its server side.
  void join() {
    listen();
    const Status status = connect(client, options_to(listener->address()));
    ASSERT_TRUE(status.ok()) << status.to_string();
    ASSERT_TRUE(pair->run_until([&] { return accepted.size() == 1; }));
  }
  Side& server() { return accepted.front(); }
  bool until(const std::function<bool()>& predicate) { return pair->run_until(predicate); }

  uint64_t request(Window* window = nullptr, Side* from = nullptr) {
    Session& session = *(from != nullptr ? *from : client).session;
    const uint64_t id = session.next_request_id();
    if (window != nullptr) {
      window->request_id = id;
      session.expose(*window);
    }
    const Status sent = session.send(kType, id, body_of(id), window);
    EXPECT_TRUE(sent.ok()) << sent.to_string();
    return id;
  }
  // A request has reached the server, which has not answered it.
  uint64_t request_there(Window& window) {
    const uint64_t id = request(&window);
    EXPECT_TRUE(until([&] { return !server().messages.empty(); }));
    EXPECT_EQ(server().messages.back().request_id, id);
    return id;
  }
  void withdraw(Window& window) {
    Flag flag;
    client.session->withdraw(window, flag.done);
    EXPECT_TRUE(until([&] { return flag.finished; }));
    EXPECT_TRUE(flag.status.ok());
  }
};

void set_memory(Window& window, Window::Direction direction, Bytes memory) {
  window.direction = direction;
  window.segments = {{memory.data(), memory.size()}};
}

// Cuts memory into segments of odd sizes, one of them empty.
void set_scattered(Window& window, Window::Direction direction, Bytes memory, Random& random) {
  window.direction = direction;
  window.segments.clear();
  while (!memory.empty()) {
    const size_t part = std::min<size_t>(memory.size(), 1 + random.below(memory.size() / 3 + 9000));
    window.segments.push_back({memory.data(), part});
    if (random.chance(1, 4)) window.segments.push_back({memory.data(), 0});
    memory = memory.subspan(part);
  }
}

TEST_P(Conformance, a_session_knows_its_peer_on_both_sides) {
  join();
  EXPECT_EQ(client.session->peer().server_id, 3u);
  EXPECT_EQ(client.session->peer().incarnation, 77u);
  EXPECT_EQ(server().session->peer().incarnation, 42u);
  EXPECT_EQ(server().session->peer().role, PeerRole::client);
  EXPECT_EQ(server().session->peer().cluster, "kv");
  EXPECT_TRUE(client.session->open());
}

TEST_P(Conformance, messages_arrive_in_order_and_each_request_gets_its_own_reply) {
  join();
  for (int i = 0; i < 200; ++i) request();
  ASSERT_TRUE(client.session->send(9, 0, body_of(999)).ok());
  ASSERT_TRUE(until([&] { return server().messages.size() == 201; }));
  for (uint64_t i = 0; i < 200; ++i) {
    EXPECT_EQ(number_of(server().messages[i].body), i + 1);
    EXPECT_EQ(server().messages[i].request_id, i + 1);
  }
  EXPECT_EQ(server().messages.back().type, 9);
  EXPECT_EQ(server().messages.back().request_id, 0u);
  for (uint64_t i = 200; i > 0; --i) {
    ASSERT_TRUE(server().session->reply(kType, i, body_of(i * 2)).ok());
  }
  ASSERT_TRUE(until([&] { return client.replies.size() == 200; }));
  for (const Received& reply : client.replies) {
    EXPECT_EQ(number_of(reply.body), reply.request_id * 2);
  }
}

TEST_P(Conformance, both_sides_ask_and_equal_request_ids_do_not_mix) {
  join();
  auto mine = random_bytes(random, 300'000);
  std::vector<std::byte> at_client(300'000);
  std::vector<std::byte> at_server(300'000);
  Window client_window;
  Window server_window;
  set_memory(client_window, Window::Direction::source, mine);
  set_memory(server_window, Window::Direction::sink, at_server);
  const uint64_t id = request(&client_window);
  ASSERT_EQ(request(&server_window, &server()), id);
  ASSERT_TRUE(until([&] { return !server().messages.empty() && !client.messages.empty(); }));
  PullFlag pull(id, 0, at_client);
  PushFlag push(id, 0, mine);
  server().session->pull(pull);
  client.session->push(push);
  ASSERT_TRUE(client.session->reply(kType, id, body_of(1)).ok());
  ASSERT_TRUE(until([&] { return pull.finished && server().replies.size() == 1; }));
  EXPECT_TRUE(pull.status.ok()) << pull.status.to_string();
  EXPECT_EQ(at_client, mine);
  EXPECT_EQ(at_server, mine);
}

TEST_P(Conformance, a_reply_comes_after_the_last_pushed_byte_of_its_request) {
  join();
  for (const size_t size : {1u, 4096u, 65'537u, 524'288u, 524'289u, 5'000'000u}) {
    const auto from = random_bytes(random, size);
    std::vector<std::byte> to(size);
    Window window;
    set_scattered(window, Window::Direction::sink, to, random);
    bool right_at_reply = false;
    client.reply_handler = [&](const Message&) { right_at_reply = to == from; };
    server().messages.clear();
    client.replies.clear();
    const uint64_t id = request_there(window);
    // Two halves, the second first.
    const size_t half = size / 2;
    PushFlag second(id, half, ConstBytes(from).subspan(half));
    PushFlag first(id, 0, ConstBytes(from).first(half));
    server().session->push(second);
    server().session->push(first);
    ASSERT_TRUE(server().session->reply(kType, id, body_of(5)).ok());
    ASSERT_TRUE(until([&] { return client.replies.size() == 1; })) << size;
    EXPECT_TRUE(right_at_reply) << size;
    EXPECT_EQ(window.moved_bytes, size);
    ASSERT_TRUE(until([&] { return first.finished && second.finished; }));
    EXPECT_TRUE(first.status.ok() && second.status.ok());
    client.reply_handler = nullptr;
    withdraw(window);
  }
}

TEST_P(Conformance, pushed_memory_is_free_when_done_says_so) {
  join();
  const auto original = random_bytes(random, 3'000'000);
  auto from = original;
  std::vector<std::byte> to(from.size());
  Window window;
  set_memory(window, Window::Direction::sink, to);
  const uint64_t id = request_there(window);
  PushFlag push(id, 0, from);
  server().session->push(push);
  ASSERT_TRUE(until([&] { return push.finished; }));
  std::ranges::fill(from, std::byte{0xEE});
  ASSERT_TRUE(server().session->reply(kType, id, {}).ok());
  ASSERT_TRUE(until([&] { return client.replies.size() == 1; }));
  EXPECT_TRUE(to == original);
}

std::vector<uint32_t> rooms_for_crcs(size_t length_bytes) {
  return std::vector<uint32_t>((length_bytes + kPullBlockBytes - 1) / kPullBlockBytes, 0xdead);
}

std::vector<uint32_t> crcs_of_blocks(ConstBytes bytes) {
  std::vector<uint32_t> crcs;
  for (size_t at = 0; at < bytes.size(); at += kPullBlockBytes) {
    crcs.push_back(crc32c(bytes.subspan(at, std::min<size_t>(bytes.size() - at, kPullBlockBytes))));
  }
  return crcs;
}

TEST_P(Conformance, a_pull_fetches_any_range_of_a_window_of_any_size) {
  join();
  const auto original = random_bytes(random, 40'000'000);  // more stripes than are asked at once
  auto from = original;
  Window window;
  set_scattered(window, Window::Direction::source, from, random);
  const uint64_t id = request_there(window);
  const std::pair<size_t, size_t> ranges[] = {{0, 40'000'000},  {0, 1},         {39'999'999, 1},
                                              {1'234'567, 777}, {100, 524'288}, {5, 1'048'577}};
  for (const auto& [offset, length] : ranges) {
    std::vector<std::byte> into(length);
    PullFlag pull(id, offset, into);
    std::vector<uint32_t> crcs = rooms_for_crcs(length);
    pull.block_crcs = crcs;
    server().session->pull(pull);
    ASSERT_TRUE(until([&] { return pull.finished; })) << offset;
    EXPECT_TRUE(pull.status.ok()) << pull.status.to_string();
    EXPECT_EQ(crcs, crcs_of_blocks(into)) << offset;
    EXPECT_TRUE(std::ranges::equal(into, ConstBytes(original).subspan(offset, length))) << offset;
  }
  withdraw(window);
}

TEST_P(Conformance, a_small_source_window_travels_with_its_request) {
  join();
  const auto original = random_bytes(random, 20'000);
  auto from = original;
  Window window;
  set_scattered(window, Window::Direction::source, from, random);
  const uint64_t id = request_there(window);
  EXPECT_EQ(window.moved_bytes, from.size());
  std::ranges::fill(from, std::byte{0});  // they are on their way already
  std::vector<std::byte> into(10'000);
  PullFlag pull(id, 5'000, into);
  std::vector<uint32_t> crcs = rooms_for_crcs(into.size());
  pull.block_crcs = crcs;
  server().session->pull(pull);
  ASSERT_TRUE(until([&] { return pull.finished; }));
  EXPECT_TRUE(pull.status.ok());
  EXPECT_TRUE(std::ranges::equal(into, ConstBytes(original).subspan(5'000, 10'000)));
  EXPECT_EQ(crcs, crcs_of_blocks(into));
}

TEST_P(Conformance, eager_bytes_over_the_budget_are_pulled_instead) {
  join();
  const size_t size = kEagerMaxBytes;
  const size_t count = 2 * (kEagerTotalMaxBytes / size);
  std::vector<std::vector<std::byte>> memory;
  std::list<Window> windows;
  for (size_t i = 0; i < count; ++i) {
    memory.push_back(random_bytes(random, size));
    set_memory(windows.emplace_back(), Window::Direction::source, memory.back());
    request(&windows.back());
  }
  ASSERT_TRUE(until([&] { return server().messages.size() == count; }));
  std::vector<std::byte> into(size);
  for (size_t i = 0; i < count; ++i) {
    PullFlag pull(server().messages[i].request_id, 0, into);
    server().session->pull(pull);
    ASSERT_TRUE(until([&] { return pull.finished; }));
    EXPECT_TRUE(pull.status.ok()) << pull.status.to_string();
    EXPECT_TRUE(into == memory[i]) << i;
  }
  for (Window& window : windows) withdraw(window);
}

TEST_P(Conformance, nothing_is_written_once_a_window_is_withdrawn) {
  join();
  const auto from = random_bytes(random, 8'000'000);
  for (int round = 0; round < 20; ++round) {
    std::vector<std::byte> canary(from.size());
    Window window;
    set_memory(window, Window::Direction::sink, canary);
    server().messages.clear();
    client.replies.clear();
    const uint64_t id = request_there(window);
    PushFlag push(id, 0, from);
    server().session->push(push);
    ASSERT_TRUE(server().session->reply(kType, id, body_of(id)).ok());
    // Somewhere in the middle of the bytes, or before the first.
    const uint64_t stop_at = random.below(from.size());
    ASSERT_TRUE(until([&] { return window.moved_bytes >= stop_at; }));
    const bool half_way = window.moved_bytes < from.size();
    withdraw(window);
    const auto before = canary;
    ASSERT_TRUE(until([&] { return push.finished; }));
    // The session goes on: the rest of the bytes is thrown away.
    const uint64_t next = request();
    ASSERT_TRUE(until([&] { return server().messages.size() == 2; }));
    ASSERT_TRUE(server().session->reply(kType, next, {}).ok());
    ASSERT_TRUE(
        until([&] { return !client.replies.empty() && client.replies.back().request_id == next; }));
    pair->run_for_ns(5 * kMs);
    EXPECT_TRUE(canary == before) << "round " << round << ", half way: " << half_way;
    EXPECT_FALSE(client.closed.has_value());
  }
}

TEST_P(Conformance, a_pull_from_a_withdrawn_window_is_canceled) {
  join();
  auto from = random_bytes(random, 2'000'000);
  Window window;
  set_memory(window, Window::Direction::source, from);
  const uint64_t id = request_there(window);
  withdraw(window);
  std::vector<std::byte> into(1'500'000);
  PullFlag pull(id, 0, into);
  server().session->pull(pull);
  ASSERT_TRUE(until([&] { return pull.finished; }));
  EXPECT_TRUE(pull.status.is(StatusCode::canceled)) << pull.status.to_string();
  EXPECT_TRUE(client.session->open());
}

TEST_P(Conformance, a_source_window_withdrawn_half_way_is_not_read_again) {
  join();
  for (int round = 0; round < 10; ++round) {
    auto from = random_bytes(random, 8'000'000);
    Window window;
    set_memory(window, Window::Direction::source, from);
    server().messages.clear();
    const uint64_t id = request_there(window);
    std::vector<std::byte> into(from.size());
    PullFlag pull(id, 0, into);
    server().session->pull(pull);
    const uint64_t stop_at = random.below(from.size());
    // Over RDMA nobody here sees what the server reads.
    until([&] { return window.moved_bytes >= stop_at || pull.finished; });
    withdraw(window);
    from = std::vector<std::byte>();  // a reader would be seen by the address sanitizer
    ASSERT_TRUE(until([&] { return pull.finished; }));
    EXPECT_TRUE(pull.status.ok() || pull.status.is(StatusCode::canceled) ||
                pull.status.is(StatusCode::corrupt))
        << pull.status.to_string();
    EXPECT_TRUE(client.session->open());
  }
}

TEST_P(Conformance, dropping_a_request_ends_its_transfers_and_frees_their_memory) {
  join();
  std::vector<std::byte> to(4'000'000);
  auto source = random_bytes(random, 4'000'000);
  Window sink;
  set_memory(sink, Window::Direction::sink, to);
  Window other;
  set_memory(other, Window::Direction::source, source);
  const uint64_t push_id = request_there(sink);
  const uint64_t pull_id = request(&other);
  ASSERT_TRUE(until([&] { return server().messages.size() == 2; }));
  auto from = std::make_unique<std::vector<std::byte>>(random_bytes(random, to.size()));
  auto into = std::make_unique<std::vector<std::byte>>(source.size());
  PushFlag push(push_id, 0, *from);
  PullFlag pull(pull_id, 0, *into);
  server().session->push(push);
  server().session->pull(pull);
  server().session->drop_request(push_id);
  server().session->drop_request(pull_id);
  ASSERT_TRUE(until([&] { return push.finished && pull.finished; }));
  EXPECT_TRUE(push.status.is(StatusCode::canceled));
  EXPECT_TRUE(pull.status.is(StatusCode::canceled));
  from.reset();  // touched again, the address sanitizer would see it
  into.reset();
  pair->run_for_ns(5 * kMs);
  EXPECT_TRUE(server().session->reply(kType, push_id, {}).ok());  // needs no answer
  withdraw(sink);
  withdraw(other);
  const uint64_t next = request();
  ASSERT_TRUE(until([&] { return server().messages.size() == 3; }));
  ASSERT_TRUE(server().session->reply(kType, next, {}).ok());
  ASSERT_TRUE(until([&] { return !client.replies.empty(); }));
  EXPECT_EQ(client.replies.front().request_id, next);
}

TEST_P(Conformance, a_push_or_pull_for_an_unknown_request_is_canceled) {
  join();
  std::vector<std::byte> bytes(1000);
  PushFlag push(12345, 0, bytes);
  PullFlag pull(12345, 0, bytes);
  server().session->push(push);
  server().session->pull(pull);
  EXPECT_FALSE(push.finished);
  ASSERT_TRUE(until([&] { return push.finished && pull.finished; }));
  EXPECT_TRUE(push.status.is(StatusCode::canceled));
  EXPECT_TRUE(pull.status.is(StatusCode::canceled));
}

TEST_P(Conformance, close_ends_everything_on_both_sides_exactly_once) {
  for (const bool client_closes : {true, false}) {
    SCOPED_TRACE(client_closes);
    begin_again(client_closes ? 2 : 3);
    join();
    std::vector<std::byte> canary(2'000'000);
    auto source = random_bytes(random, 2'000'000);
    Window sink;
    set_memory(sink, Window::Direction::sink, canary);
    Window other;
    set_memory(other, Window::Direction::source, source);
    const uint64_t push_id = request_there(sink);
    const uint64_t pull_id = request(&other);
    ASSERT_TRUE(until([&] { return server().messages.size() == 2; }));
    auto from = std::make_unique<std::vector<std::byte>>(random_bytes(random, canary.size()));
    auto into = std::make_unique<std::vector<std::byte>>(source.size());
    PushFlag push(push_id, 0, *from);
    PullFlag pull(pull_id, 0, *into);
    server().session->push(push);
    server().session->pull(pull);
    Side& closer = client_closes ? client : server();
    closer.session->close(Status(StatusCode::canceled, "enough"));
    closer.session->close(Status(StatusCode::canceled, "again"));
    EXPECT_FALSE(closer.closed.has_value());  // from the loop, never inside the call
    EXPECT_FALSE(closer.session->open());
    EXPECT_TRUE(closer.session->send(kType, 0, {}).is(StatusCode::unavailable));
    ASSERT_TRUE(until([&] { return client.closed && server().closed; }));
    EXPECT_TRUE(closer.closed->is(StatusCode::canceled));
    EXPECT_EQ(closer.closed->text(), "enough");
    EXPECT_TRUE(push.finished && pull.finished);  // before on_closed
    if (!client_closes) {
      EXPECT_TRUE(push.status.is(StatusCode::unavailable)) << push.status.to_string();
      EXPECT_TRUE(pull.status.is(StatusCode::unavailable));
    }
    const auto before = canary;
    from.reset();
    into.reset();
    withdraw(sink);
    withdraw(other);
    pair->run_for_ns(5 * kMs);
    EXPECT_TRUE(canary == before);
    EXPECT_EQ(client.times_closed, 1);
    EXPECT_EQ(server().times_closed, 1);
    client.session.reset();
    server().session.reset();
    listener.reset();
  }
}

TEST_P(Conformance, the_reason_outlives_a_session_that_is_destroyed_when_it_is_told) {
  join();
  client.destroys_when_closed = true;
  const std::string words = "enough, in more words than a string keeps in itself";
  client.session->close(Status(StatusCode::canceled, words));
  ASSERT_TRUE(until([&] { return client.closed.has_value(); }));
  EXPECT_EQ(client.closed->text(), words);
  EXPECT_EQ(client.session, nullptr);
}

TEST_P(Conformance, a_destroyed_session_is_a_closed_one_for_its_peer) {
  join();
  server().session.reset();
  ASSERT_TRUE(until([&] { return client.closed.has_value(); }));
  EXPECT_TRUE(client.closed->is(StatusCode::unavailable)) << client.closed->to_string();
}

TEST_P(Conformance, a_listener_that_is_gone_leaves_its_sessions_alone) {
  join();
  const std::string address = listener->address();
  listener.reset();
  const uint64_t id = request();
  ASSERT_TRUE(until([&] { return !server().messages.empty(); }));
  ASSERT_TRUE(server().session->reply(kType, id, {}).ok());
  ASSERT_TRUE(until([&] { return !client.replies.empty(); }));
  Side late;
  EXPECT_FALSE(connect(late, options_to(address)).ok());
}

TEST_P(Conformance,
       a_wrong_or_missing_token_is_denied_and_an_older_one_is_good_while_it_is_listed) {
  listen();
  Side side;
  ConnectOptions options = options_to(listener->address());
  options.key = "another secret of the same size.";
  EXPECT_TRUE(connect(side, options).is(StatusCode::denied));
  options.key = "";
  EXPECT_TRUE(connect(side, options).is(StatusCode::denied));
  options = options_to(listener->address());
  options.cluster = "other";
  EXPECT_TRUE(connect(side, options).is(StatusCode::denied));
  options = options_to(listener->address());
  options.role = PeerRole::admin;
  EXPECT_TRUE(connect(side, options).is(StatusCode::denied));
  options = options_to(listener->address());
  options.insecure = true;
  options.key = "";
  EXPECT_TRUE(connect(side, options).is(StatusCode::denied));
  EXPECT_TRUE(accepted.empty());
  keys = {"the new one", kKey};
  EXPECT_TRUE(connect(side, options_to(listener->address())).ok());
  keys = {"the new one"};
  Side late;
  EXPECT_TRUE(connect(late, options_to(listener->address())).is(StatusCode::denied));
  EXPECT_TRUE(side.session->open());
}

TEST_P(Conformance, nobody_there_is_unavailable) {
  const Status status = connect(client, options_to(pair->dead_address()));
  EXPECT_TRUE(status.is(StatusCode::unavailable)) << status.to_string();
}

TEST_P(Conformance, one_session_over_the_limit_is_busy) {
  listen(2);
  Side sides[3];
  EXPECT_TRUE(connect(sides[0], options_to(listener->address())).ok());
  EXPECT_TRUE(connect(sides[1], options_to(listener->address())).ok());
  const Status status = connect(sides[2], options_to(listener->address()));
  EXPECT_TRUE(status.is(StatusCode::busy)) << status.to_string();
  sides[0].session.reset();
  ASSERT_TRUE(until([&] { return accepted.front().closed.has_value(); }));
  accepted.front().session.reset();
  EXPECT_TRUE(connect(sides[2], options_to(listener->address())).ok());
}

TEST_P(Conformance, pushed_bytes_that_do_not_match_their_crc_end_the_session_as_corrupt) {
  if (!pair->checks_bytes()) GTEST_SKIP() << "decision 021";
  for (const size_t size : {1000u, 3'000'000u}) {
    begin_again(size);
    join();
    auto from = random_bytes(random, size);
    std::vector<std::byte> to(size);
    Window window;
    set_memory(window, Window::Direction::sink, to);
    const uint64_t id = request_there(window);
    PushFlag push(id, 0, from);
    from[random.below(size)] ^= std::byte{1};  // damaged in memory, after its crc was taken
    server().session->push(push);
    ASSERT_TRUE(server().session->reply(kType, id, {}).ok());
    ASSERT_TRUE(until([&] { return client.closed.has_value(); }));
    EXPECT_TRUE(client.closed->is(StatusCode::corrupt)) << client.closed->to_string();
    EXPECT_TRUE(client.replies.empty());
    client.session.reset();
    ASSERT_TRUE(until([&] { return server().closed.has_value(); }));
    server().session.reset();
    listener.reset();
  }
}

TEST_P(Conformance, a_push_outside_of_its_window_ends_the_session) {
  join();
  const auto from = random_bytes(random, 1001);
  std::vector<std::byte> to(1001, std::byte{7});
  const auto before = to;
  Window window;
  set_memory(window, Window::Direction::sink, Bytes(to).first(1000));
  const uint64_t id = request_there(window);
  PushFlag push(id, 0, from);
  server().session->push(push);
  ASSERT_TRUE(until([&] { return client.closed.has_value(); }));
  EXPECT_TRUE(client.closed->is(StatusCode::invalid)) << client.closed->to_string();
  EXPECT_TRUE(to == before);
  ASSERT_TRUE(until([&] { return push.finished; }));
}

TEST_P(Conformance, a_pull_outside_of_its_window_ends_the_session) {
  join();
  auto from = random_bytes(random, 100'000);
  Window window;
  set_memory(window, Window::Direction::source, from);
  const uint64_t id = request_there(window);
  std::vector<std::byte> into(1000);
  PullFlag pull(id, 99'001, into);
  server().session->pull(pull);
  ASSERT_TRUE(until([&] { return client.closed.has_value() && pull.finished; }));
  EXPECT_TRUE(client.closed->is(StatusCode::invalid)) << client.closed->to_string();
  EXPECT_FALSE(pull.status.ok());
}

TEST_P(Conformance, one_request_over_the_limit_is_answered_busy) {
  join();
  for (uint32_t i = 0; i <= kRequestsMax; ++i) request();
  ASSERT_TRUE(until([&] { return client.replies.size() == 1; }));
  EXPECT_EQ(client.replies[0].request_id, kRequestsMax + 1);
  EXPECT_EQ(client.replies[0].type, static_cast<uint16_t>(msg::Type::error));
  EXPECT_TRUE(open_error(client.replies[0].body).is(StatusCode::busy));
  EXPECT_EQ(server().messages.size(), kRequestsMax);
  ASSERT_TRUE(server().session->reply(kType, 1, {}).ok());
  request();
  ASSERT_TRUE(until([&] { return server().messages.size() == kRequestsMax + 1; }));
}

TEST_P(Conformance, messages_over_the_limits_are_refused_at_once) {
  join();
  const std::vector<std::byte> huge(kFrameBodyMaxBytes + 1);
  EXPECT_TRUE(client.session->send(kType, 0, huge).is(StatusCode::invalid));
  const std::vector<std::byte> largest(kFrameBodyMaxBytes);
  size_t sent = 0;
  Status status;
  // The peer does not run in this loop of ours.
  while (status.ok() && sent < 100) {
    status = client.session->send(kType, 0, largest);
    if (status.ok()) ++sent;
  }
  EXPECT_TRUE(status.is(StatusCode::busy));
  EXPECT_LE(sent, Session::kSendQueueMaxBytes / kFrameBodyMaxBytes);
  ASSERT_TRUE(until([&] { return server().messages.size() == sent; }));
  EXPECT_EQ(server().messages.back().body.size(), largest.size());
  EXPECT_TRUE(client.session->send(kType, 0, largest).ok());
}

INSTANTIATE_TEST_SUITE_P(Fabric, Conformance, testing::ValuesIn(all_pairs()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace gd2fs
