// RDMA sessions over the fake NICs: what is posted, what is given back when, and what happens when
// work is late, lost or refused.
#include "fabric/rdma_session.h"

#include <cerrno>

#include "fabric/rdma_world.h"

namespace gd2fs {
namespace {

TEST_F(RdmaWorld, a_read_of_4_mib_is_one_message_four_writes_one_reply_and_one_completion) {
  ASSERT_NO_FATAL_FAILURE(join());
  const size_t size = 4 << 20;
  auto from = random_bytes(random, size);
  std::vector<std::byte> to(size);
  const Registered source(fabric, from, false);
  const Registered target(fabric, to, true);
  const auto server_before = fake.counts(kServer);
  const auto client_before = fake.counts(kClient);
  const RdmaCounters before = fabric.counters();
  Window window;
  const uint64_t id = request(window, Window::Direction::sink, to);
  PushFlag push(id, 0, from);
  push.crc = 0;  // nobody looks at it
  server().session->push(push);
  ASSERT_TRUE(server().session->reply(kType, id, {}).ok());
  ASSERT_TRUE(until([&] { return client.replies.size() == 1 && push.finished; }));
  EXPECT_TRUE(to == from);
  EXPECT_EQ(window.moved_bytes, size);
  const auto at_server = fake.counts(kServer);
  const auto at_client = fake.counts(kClient);
  std::printf(
      "4 MiB read: client sent %llu, server wrote %llu and sent %llu, in %llu doorbells "
      "with %llu completions; %llu bytes copied\n",
      static_cast<unsigned long long>(at_client.sends - client_before.sends),
      static_cast<unsigned long long>(at_server.writes - server_before.writes),
      static_cast<unsigned long long>(at_server.sends - server_before.sends),
      static_cast<unsigned long long>(at_server.doorbells - server_before.doorbells),
      static_cast<unsigned long long>(at_server.send_completions - server_before.send_completions),
      static_cast<unsigned long long>(fabric.counters().copied_bytes - before.copied_bytes));
  EXPECT_EQ(at_client.sends - client_before.sends, 1u);
  EXPECT_EQ(at_server.writes - server_before.writes, 4u);
  EXPECT_EQ(at_server.write_bytes - server_before.write_bytes, size);
  EXPECT_EQ(at_server.sends - server_before.sends, 1u);
  EXPECT_EQ(at_server.doorbells - server_before.doorbells, 1u);
  EXPECT_EQ(at_server.send_completions - server_before.send_completions, 1u);
  EXPECT_EQ(fabric.counters().copied_bytes, before.copied_bytes);
  EXPECT_EQ(fabric.counters().copied_windows, before.copied_windows);
  give_back(window);
}

// With nothing else on the session that would make it look for work.
TEST_F(RdmaWorld, what_waits_for_room_among_the_posted_bytes_goes_when_others_have_gone) {
  ASSERT_NO_FATAL_FAILURE(join());
  const size_t piece = 4 << 20;
  auto from = random_bytes(random, 16 * piece);  // twice what may be posted
  std::vector<std::byte> to(from.size());
  const Registered source(fabric, from, false);
  const Registered target(fabric, to, true);
  Window window;
  const uint64_t id = request(window, Window::Direction::sink, to);
  std::list<PushFlag> pushes;
  // The first answer of a NIC makes a session look in any case.
  server().session->push(pushes.emplace_back(id, 0, ConstBytes(from).first(piece)));
  ASSERT_TRUE(until([&] { return pushes.back().finished; }));
  for (size_t at = piece; at < from.size(); at += piece) {
    server().session->push(pushes.emplace_back(id, at, ConstBytes(from).subspan(at, piece)));
  }
  const uint64_t began_ns = clock.now_ns();
  ASSERT_TRUE(until([&] { return pushes.back().finished; }));
  EXPECT_LT(clock.now_ns() - began_ns, TcpOptions().ping_after_ns / 2);  // no tick has helped
  ASSERT_TRUE(server().session->reply(kType, id, {}).ok());
  ASSERT_TRUE(until([&] { return client.replies.size() == 1; }));
  EXPECT_TRUE(to == from);
  give_back(window);
}

TEST_F(RdmaWorld, a_write_is_read_by_the_server_with_the_block_checksums) {
  ASSERT_NO_FATAL_FAILURE(join());
  const size_t size = 3'000'001;
  auto from = random_bytes(random, size);
  std::vector<std::byte> into(size);
  const Registered source(fabric, from, true);
  const Registered target(fabric, into, false);
  const auto before = fake.counts(kServer);
  Window window;
  const uint64_t id = request(window, Window::Direction::source, from);
  PullFlag pull(id, 0, into);
  std::vector<uint32_t> crcs((size + kPullBlockBytes - 1) / kPullBlockBytes);
  pull.block_crcs = crcs;
  server().session->pull(pull);
  ASSERT_TRUE(
      server().session->reply(kType, id, {}).ok());  // behind the bytes, though asked before
  ASSERT_TRUE(until([&] { return client.replies.size() == 1; }));
  EXPECT_TRUE(pull.finished && pull.status.ok());
  EXPECT_TRUE(into == from);
  EXPECT_EQ(crcs.front(), crc32c(ConstBytes(from).first(kPullBlockBytes)));
  EXPECT_EQ(window.moved_bytes, size);
  EXPECT_EQ(fake.counts(kServer).reads - before.reads, 3u);
  give_back(window);
}

TEST_F(RdmaWorld, memory_without_keys_is_copied_and_counted) {
  ASSERT_NO_FATAL_FAILURE(join());
  const size_t size = 700'000;
  const auto from = random_bytes(random, size);
  std::vector<std::byte> to(size);
  Window window;
  const uint64_t id = request(window, Window::Direction::sink, to);
  PushFlag push(id, 0, from);
  server().session->push(push);
  ASSERT_TRUE(server().session->reply(kType, id, {}).ok());
  ASSERT_TRUE(until([&] { return client.replies.size() == 1; }));
  EXPECT_TRUE(to == from);
  EXPECT_EQ(fabric.counters().copied_windows, 1u);
  EXPECT_EQ(fabric.counters().copied_bytes, size);
  EXPECT_EQ(fake.counts(kServer).no_buffer, 0u);  // credits keep messages waiting at home
}

// The list of the window's parts goes in front of the body, in the same message.
TEST_F(RdmaWorld, a_request_and_its_window_in_parts_are_one_message) {
  ASSERT_NO_FATAL_FAILURE(join());
  auto from = random_bytes(random, 3000);
  std::vector<std::byte> to(from.size());
  const Registered source(fabric, from, false);
  const Registered target(fabric, to, true);
  const auto body = random_bytes(random, 1001);
  Window window;
  window.segments = {{to.data() + 2000, 1000}, {to.data(), 500}, {to.data() + 500, 1500}};
  window.request_id = client.session->next_request_id();
  client.session->expose(window);
  bool aligned = false;
  server().handler = [&](const Message& message) {
    aligned = reinterpret_cast<uintptr_t>(message.body.data()) % 8 == 0;
    server().messages.push_back(
        {message.type, message.request_id, {message.body.begin(), message.body.end()}});
  };
  const uint64_t sends = fake.counts(kClient).sends;
  ASSERT_TRUE(client.session->send(kType, window.request_id, body, &window).ok());
  ASSERT_TRUE(until([&] { return server().messages.size() == 1; }));
  EXPECT_EQ(fake.counts(kClient).sends - sends, 1u);
  EXPECT_EQ(server().messages[0].type, kType);
  EXPECT_EQ(server().messages[0].request_id, window.request_id);
  EXPECT_TRUE(server().messages[0].body == body);
  EXPECT_TRUE(aligned);
  PushFlag push(window.request_id, 0, from);
  server().session->push(push);
  ASSERT_TRUE(server().session->reply(kType, window.request_id, {}).ok());
  ASSERT_TRUE(until([&] { return client.replies.size() == 1 && push.finished; }));
  EXPECT_TRUE(std::equal(from.begin(), from.begin() + 1000, to.begin() + 2000));
  EXPECT_TRUE(std::equal(from.begin() + 1000, from.end(), to.begin()));
  EXPECT_EQ(fabric.counters().copied_bytes, 0u);
  give_back(window);
}

// A frame has no room for both: the bytes go through the stream.
TEST_F(RdmaWorld, a_request_too_long_for_a_list_in_front_of_it_has_its_window_copied) {
  ASSERT_NO_FATAL_FAILURE(join());
  auto from = random_bytes(random, 3000);
  std::vector<std::byte> to(from.size());
  const Registered source(fabric, from, false);
  const Registered target(fabric, to, true);
  const auto body = random_bytes(random, RdmaClientSession::kListedBodyMaxBytes + 1);
  Window window;
  window.segments = {{to.data(), to.size()}};
  window.request_id = client.session->next_request_id();
  client.session->expose(window);
  ASSERT_TRUE(client.session->send(kType, window.request_id, body, &window).ok());
  ASSERT_TRUE(until([&] { return server().messages.size() == 1; }));
  EXPECT_TRUE(server().messages[0].body == body);
  PushFlag push(window.request_id, 0, from);
  server().session->push(push);
  ASSERT_TRUE(server().session->reply(kType, window.request_id, {}).ok());
  ASSERT_TRUE(until([&] { return client.replies.size() == 1 && push.finished; }));
  EXPECT_TRUE(to == from);
  EXPECT_EQ(fabric.counters().copied_windows, 1u);
  give_back(window);
}

TEST_F(RdmaWorld, a_refused_registration_is_told_and_its_bytes_are_copied) {
  ASSERT_NO_FATAL_FAILURE(join());
  std::vector<std::byte> to(300'000);
  FabricMemory memory;
  memory.address = to.data();
  memory.length_bytes = to.size();
  memory.for_peers = true;
  fake.refuse_registrations(2, ENOMEM);
  const Status status = fabric.add_memory(memory);
  EXPECT_EQ(status.errno_value(), ENOMEM) << status.to_string();
  const auto from = random_bytes(random, to.size());
  Window window;
  const uint64_t id = request(window, Window::Direction::sink, to);
  PushFlag push(id, 0, from);
  server().session->push(push);
  ASSERT_TRUE(server().session->reply(kType, id, {}).ok());
  ASSERT_TRUE(until([&] { return client.replies.size() == 1; }));
  EXPECT_TRUE(to == from);
  EXPECT_EQ(fabric.counters().copied_windows, 1u);
  fabric.remove_memory(memory);
}

TEST_F(RdmaWorld, memory_over_max_mr_size_has_several_keys) {
  fake.set_max_mr_size(3 << 20);
  ASSERT_NO_FATAL_FAILURE(join());
  const size_t size = 9'000'000;
  auto from = random_bytes(random, size);
  std::vector<std::byte> to(size);
  const Registered source(fabric, from, false);
  const Registered target(fabric, to, true);
  Window window;
  const uint64_t id = request(window, Window::Direction::sink, to);
  PushFlag push(id, 0, from);
  server().session->push(push);
  ASSERT_TRUE(server().session->reply(kType, id, {}).ok());
  ASSERT_TRUE(until([&] { return client.replies.size() == 1; }));
  EXPECT_TRUE(to == from);
  EXPECT_EQ(fabric.counters().copied_bytes, 0u);
}

TEST_F(RdmaWorld, a_withdrawn_window_comes_back_when_nothing_of_it_is_under_way) {
  ASSERT_NO_FATAL_FAILURE(join());
  const size_t size = 8 << 20;
  auto from = random_bytes(random, size);
  std::vector<std::byte> to(size);
  const Registered source(fabric, from, false);
  const Registered target(fabric, to, true);
  Window window;
  const uint64_t id = request(window, Window::Direction::sink, to);
  fake.hold_after(3);  // three of the eight WRITEs are carried out
  PushFlag push(id, 0, from);
  server().session->push(push);
  const uint64_t done = fake.counts(kServer).writes;
  ASSERT_TRUE(until([&] { return fake.counts(kServer).writes >= done + 3; }));
  Flag back;
  client.session->withdraw(window, back.done);
  run_for_ns(20 * kMs);
  EXPECT_FALSE(back.finished);  // five are still to come
  EXPECT_FALSE(push.finished);  // and the page is still read
  fake.hold(-1, 0);
  ASSERT_TRUE(until([&] { return back.finished; }));
  EXPECT_EQ(fake.queued(), 0u);
  std::ranges::fill(to, std::byte{0xCA});
  const auto canary = to;
  ASSERT_TRUE(until([&] { return push.finished; }));
  EXPECT_TRUE(push.status.is(StatusCode::canceled));
  PushFlag late(id, 0, from);
  server().session->push(late);
  ASSERT_TRUE(until([&] { return late.finished; }));
  EXPECT_TRUE(late.status.is(StatusCode::canceled));
  run_for_ns(5 * kMs);
  EXPECT_TRUE(to == canary);
  EXPECT_TRUE(client.session->open() && server().session->open());
}

TEST_F(RdmaWorld, credits_keep_a_thousand_messages_waiting_and_lose_none) {
  ASSERT_NO_FATAL_FAILURE(join());
  fake.set_delay_ns(200 * kUs);
  std::vector<std::byte> body(3000);
  for (uint64_t i = 1; i <= 1000; ++i) {
    store_le(body.data(), i);
    ASSERT_TRUE(client.session->send(kType, client.session->next_request_id(), body).ok());
  }
  ASSERT_TRUE(until([&] { return server().messages.size() == 1000; }));
  for (uint64_t i = 1; i <= 1000; ++i) {
    ASSERT_EQ(load_le<uint64_t>(server().messages[i - 1].body.data()), i);
    ASSERT_TRUE(server().session->reply(kType, i, body).ok());
  }
  ASSERT_TRUE(until([&] { return client.replies.size() == 1000; }));
  for (const int device : {kServer, kClient}) {
    EXPECT_EQ(fake.counts(device).no_buffer, 0u);
    EXPECT_EQ(fake.counts(device).overruns, 0u);
  }
}

TEST_F(RdmaWorld, a_lost_work_request_ends_the_session_on_both_sides) {
  ASSERT_NO_FATAL_FAILURE(join());
  std::vector<std::byte> to(2 << 20);
  auto from = random_bytes(random, to.size());
  const Registered source(fabric, from, false);
  const Registered target(fabric, to, true);
  Window window;
  const uint64_t id = request(window, Window::Direction::sink, to);
  fake.lose(1);
  PushFlag push(id, 0, from);
  server().session->push(push);
  ASSERT_TRUE(until([&] { return client.closed && server().closed; }));
  EXPECT_TRUE(server().closed->is(StatusCode::unavailable)) << server().closed->to_string();
  EXPECT_TRUE(push.finished);
  EXPECT_TRUE(push.status.is(StatusCode::unavailable));
  EXPECT_EQ(fake.counts(kServer).queue_pairs, 0u);
  EXPECT_EQ(fake.counts(kClient).queue_pairs, 0u);
}

TEST_F(RdmaWorld, a_broken_nic_ends_its_sessions_and_a_new_one_works) {
  ASSERT_NO_FATAL_FAILURE(join());
  fake.break_pairs(kClient);
  ASSERT_TRUE(until([&] { return client.closed && server().closed; }));
  ASSERT_NO_FATAL_FAILURE(connect_again());
}

TEST_F(RdmaWorld, a_key_opens_nothing_once_its_memory_is_deregistered) {
  ASSERT_NO_FATAL_FAILURE(join());
  std::vector<std::byte> to(1 << 20);
  auto from = random_bytes(random, to.size());
  const Registered source(fabric, from, false);
  auto target = std::make_unique<Registered>(fabric, to, true);
  Window window;
  const uint64_t id = request(window, Window::Direction::sink, to);
  const uint64_t refused_before = fake.counts(kClient).refused_keys;
  target.reset();  // what no owner may do with a request in flight
  PushFlag push(id, 0, from);
  server().session->push(push);
  ASSERT_TRUE(until([&] { return server().closed.has_value(); }));
  EXPECT_TRUE(server().closed->is(StatusCode::unavailable));
  EXPECT_TRUE(std::ranges::all_of(to, [](std::byte byte) { return byte == std::byte{0}; }));
  EXPECT_EQ(fake.counts(kClient).refused_keys - refused_before, 1u);
}

TEST_F(RdmaWorld,
       a_session_is_made_only_where_packets_pass_and_not_where_the_handshake_alone_does) {
  ASSERT_NO_FATAL_FAILURE(listen());
  fake.cut(kClient, kServer, 1);
  const Status nothing = connect(options_to(listener->address()));
  EXPECT_TRUE(nothing.is(StatusCode::unavailable)) << nothing.to_string();
  ASSERT_TRUE(until([&] { return fake.counts(kClient).queue_pairs == 0; }));
  ASSERT_TRUE(until([&] { return accepted.empty() || accepted.front().closed.has_value(); }));
  fake.hold(kClient, 1);  // nor where they take too long
  ConnectOptions options = options_to(listener->address());
  options.timeout_ns = 200 * kMs;
  const Status late = connect(options);
  EXPECT_TRUE(late.is(StatusCode::timed_out)) << late.to_string();
  fake.hold(kClient, 0);
  fake.cut(kClient, kServer, 0);
  accepted.clear();
  EXPECT_TRUE(connect(options_to(listener->address())).ok());
}

TEST_F(RdmaWorld, a_queue_pair_that_breaks_during_the_handshake_is_worth_another_try) {
  ASSERT_NO_FATAL_FAILURE(listen());
  Connected out;
  loop.spawn(run_connect(&fabric, options_to(listener->address()), &out));
  // The server's is made when the client has told of its own.
  ASSERT_TRUE(until([&] { return fake.counts(kServer).queue_pairs == 1; }));
  fake.break_pairs(kClient);
  ASSERT_TRUE(until([&] { return out.has_value(); }));
  ASSERT_FALSE(out->has_value());
  EXPECT_TRUE(out->error().is(StatusCode::unavailable)) << out->error().to_string();
}

TEST_F(RdmaWorld, what_cannot_be_listened_on_or_reached_by_rdma_says_why) {
  ASSERT_NO_FATAL_FAILURE(listen());
  ConnectOptions options = options_to(listener->address());
  fake.set_port(kClient, 0);
  const Status down = connect(options);
  EXPECT_TRUE(down.is(StatusCode::unavailable)) << down.to_string();
  const auto nowhere = fabric.listen("rdma://127.0.0.9:0", ListenOptions(), nullptr);
  ASSERT_FALSE(nowhere.has_value());
  EXPECT_TRUE(nowhere.error().is(StatusCode::not_found)) << nowhere.error().to_string();
}

}  // namespace
}  // namespace gd2fs
