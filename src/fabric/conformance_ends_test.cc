// How sessions begin and end, and what ends them, over every fabric there is.
#include "fabric/conformance_fixture.h"
#include "fabric/reply.h"

namespace gd2fs {
namespace {

class ConformanceEnds : public Conformance {};

TEST_P(ConformanceEnds, close_ends_everything_on_both_sides_exactly_once) {
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

TEST_P(ConformanceEnds, the_reason_outlives_a_session_that_is_destroyed_when_it_is_told) {
  join();
  client.destroys_when_closed = true;
  const std::string words = "enough, in more words than a string keeps in itself";
  client.session->close(Status(StatusCode::canceled, words));
  ASSERT_TRUE(until([&] { return client.closed.has_value(); }));
  EXPECT_EQ(client.closed->text(), words);
  EXPECT_EQ(client.session, nullptr);
}

TEST_P(ConformanceEnds, a_destroyed_session_is_a_closed_one_for_its_peer) {
  join();
  server().session.reset();
  ASSERT_TRUE(until([&] { return client.closed.has_value(); }));
  EXPECT_TRUE(client.closed->is(StatusCode::unavailable)) << client.closed->to_string();
}

TEST_P(ConformanceEnds, a_listener_that_is_gone_leaves_its_sessions_alone) {
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

TEST_P(ConformanceEnds,
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

TEST_P(ConformanceEnds, nobody_there_is_unavailable) {
  const Status status = connect(client, options_to(pair->dead_address()));
  EXPECT_TRUE(status.is(StatusCode::unavailable)) << status.to_string();
}

TEST_P(ConformanceEnds, one_session_over_the_limit_is_busy) {
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

TEST_P(ConformanceEnds, pushed_bytes_that_do_not_match_their_crc_end_the_session_as_corrupt) {
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

TEST_P(ConformanceEnds, a_push_outside_of_its_window_ends_the_session) {
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

TEST_P(ConformanceEnds, more_bytes_than_its_window_has_end_the_session_before_the_reply) {
  join();
  const std::string_view path = client.session->path();
  if (path != "tcp" && path != "shm") GTEST_SKIP() << "counted with the reply";
  const auto from = random_bytes(random, 100'000);
  std::vector<std::byte> to(from.size());
  Window window;
  set_memory(window, Window::Direction::sink, to);
  const uint64_t id = request_there(window);
  PushFlag once(id, 0, from);
  PushFlag twice(id, 0, ConstBytes(from).first(1));
  server().session->push(once);
  server().session->push(twice);
  ASSERT_TRUE(until([&] { return client.closed.has_value(); }));
  EXPECT_TRUE(client.closed->is(StatusCode::invalid)) << client.closed->to_string();
  ASSERT_TRUE(until([&] { return once.finished && twice.finished; }));
}

TEST_P(ConformanceEnds, a_pull_outside_of_its_window_ends_the_session) {
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

TEST_P(ConformanceEnds, one_request_over_the_limit_is_answered_busy) {
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

TEST_P(ConformanceEnds, messages_over_the_limits_are_refused_at_once) {
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
INSTANTIATE_TEST_SUITE_P(Fabric, ConformanceEnds, every_fabric(), name_of);

}  // namespace
}  // namespace gd2fs
