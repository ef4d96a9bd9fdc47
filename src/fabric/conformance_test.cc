// What fabric.h promises of messages and of bytes, over every fabric there is.
#include "base/crc32c.h"
#include "fabric/conformance_fixture.h"
#include "fabric/reply.h"

namespace gd2fs {
namespace {

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

// Of a window, what is told while its bytes come.
struct Landed final : StraightPath {
  const std::vector<std::byte>& from;
  const std::vector<std::byte>& to;
  std::vector<bool> told;
  uint64_t told_bytes = 0;
  bool right = true;
  Landed(const std::vector<std::byte>& sent, const std::vector<std::byte>& window)
      : from(sent), to(window), told(sent.size()) {}
  bool take(StraightPart&) override { return false; }
  bool take_back(StraightPart&) override { return false; }
  void arrived(uint64_t, uint64_t) override { right = false; }
  void landed(uint64_t offset, uint64_t length_bytes) override {
    for (uint64_t at = offset; at < offset + length_bytes; ++at) {
      right = right && !told[at] && to[at] == from[at];
      told[at] = true;
    }
    told_bytes += length_bytes;
  }
};

TEST_P(Conformance, what_is_said_to_have_landed_is_there_and_is_said_once_before_the_reply) {
  join();
  const auto from = random_bytes(random, 3'000'001);
  std::vector<std::byte> to(from.size());
  Landed landed(from, to);
  Window window;
  set_scattered(window, Window::Direction::sink, to, random);
  window.straight = &landed;
  uint64_t told_at_reply = 0;
  client.reply_handler = [&](const Message&) { told_at_reply = landed.told_bytes; };
  const uint64_t id = request_there(window);
  PushFlag push(id, 0, from);
  server().session->push(push);
  ASSERT_TRUE(server().session->reply(kType, id, {}).ok());
  ASSERT_TRUE(until([&] { return client.replies.size() == 1 && push.finished; }));
  EXPECT_TRUE(landed.right);
  EXPECT_EQ(told_at_reply, landed.told_bytes);
  // Over TCP nothing else would tell of bytes before their reply.
  if (client.session->path() == "tcp") {
    EXPECT_EQ(landed.told_bytes, from.size());
  }
  withdraw(window);
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
INSTANTIATE_TEST_SUITE_P(Fabric, Conformance, every_fabric(), name_of);

}  // namespace
}  // namespace gd2fs
