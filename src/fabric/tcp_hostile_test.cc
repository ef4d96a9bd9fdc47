// Strangers and liars: what they say ends their connection with a logged reason, costs little
// memory, and disturbs nobody else.
#include <list>

#include <gtest/gtest.h>

#include "base/log.h"
#include "fabric/conformance_pair.h"
#include "fabric/raw_peer.h"
#include "fabric/reply.h"
#include "fabric/tcp_fabric.h"
#include "fabric/tcp_listener.h"

namespace gd2fs {
namespace {

constexpr char kKey[] = "the token of the cluster kv .....";
std::string g_log;

// With true, threads move the lanes but the first.
class Hostile : public testing::TestWithParam<bool> {
 protected:
  RealClock clock;
  Loop loop{clock, Loop::Waits::epoll};
  ThreadWorker worker{"resolver"};
  TcpOptions tcp{.lanes_min = 2,
                 .pumps = GetParam() ? std::make_shared<LanePumps>(2) : nullptr,
                 .pumps_from_bytes = 1,
                 .greetings_max = 20};
  TcpFabric fabric{loop, worker, tcp};
  std::list<Side> accepted;
  std::unique_ptr<Listener> listener;
  Side honest;

  void SetUp() override {
    g_log.clear();
    set_log_sink([](LogLevel, std::string_view line) {
      g_log += line;
      g_log += '\n';
    });
    listen(kSecond);
  }
  void TearDown() override {
    set_log_sink(nullptr);
    honest.session.reset();
    for (Side& side : accepted) side.session.reset();
    listener.reset();
  }
  void listen(uint64_t handshake_timeout_ns) {
    ListenOptions options;
    options.handshake_timeout_ns = handshake_timeout_ns;
    options.keys = [](PeerRole role, std::string_view cluster) {
      return role == PeerRole::client && cluster == "kv" ? std::vector<std::string>{kKey}
                                                         : std::vector<std::string>();
    };
    auto result = fabric.listen("tcp://127.0.0.1:0", std::move(options),
                                [this](std::unique_ptr<Session> session) {
                                  Side& side = accepted.emplace_back();
                                  side.session = std::move(session);
                                  side.session->set_events(&side);
                                });
    ASSERT_TRUE(result.has_value());
    listener = std::move(*result);
  }
  void turn() { loop.turn(kMs); }
  RawPeer peer() {
    return RawPeer(listener->address(), [this] { turn(); });
  }
  bool until(const std::function<bool()>& predicate) {
    const uint64_t end_ns = clock.now_ns() + 10 * kSecond;
    while (!predicate() && clock.now_ns() < end_ns) turn();
    return predicate();
  }
  // An honest client gets in and gets its answer.
  void expect_honest_work() {
    honest = Side();
    const size_t before = accepted.size();
    ConnectOptions options;
    options.address = listener->address();
    options.cluster = "kv";
    options.key = kKey;
    const Status status = connect_side(fabric, loop, std::move(options), honest,
                                       [this](const auto& predicate) { return until(predicate); });
    ASSERT_TRUE(status.ok()) << status.to_string();
    ASSERT_GT(accepted.size(), before);
    Side& server = accepted.back();
    const auto from = std::vector<std::byte>(1'000'000, std::byte{5});
    std::vector<std::byte> to(from.size());
    Window window;
    window.segments = {{to.data(), to.size()}};
    window.request_id = honest.session->next_request_id();
    honest.session->expose(window);
    ASSERT_TRUE(honest.session->send(65, window.request_id, {}, &window).ok());
    ASSERT_TRUE(until([&] { return !server.messages.empty(); }));
    PushFlag push(window.request_id, 0, from);
    server.session->push(push);
    ASSERT_TRUE(server.session->reply(65, window.request_id, {}).ok());
    ASSERT_TRUE(until([&] { return honest.replies.size() == 1 && push.finished; }));
    EXPECT_TRUE(to == from);
    Flag flag;
    honest.session->withdraw(window, flag.done);
    ASSERT_TRUE(until([&] { return flag.finished; }));
  }
  static HelloFacts hello() {
    HelloFacts facts;
    facts.cluster = "kv";
    facts.incarnation = 5;
    facts.lanes = 2;
    return facts;
  }
  // A peer that has the token, and then says what it likes.
  struct Insider {
    RawPeer raw;
    ClientHandshake handshake;
    msg::WelcomeT welcome;
  };
  std::unique_ptr<Insider> insider() {
    auto made = std::make_unique<Insider>(
        Insider{peer(), ClientHandshake(hello(), kKey, false), msg::WelcomeT()});
    const auto welcome = made->raw.greet(made->handshake);
    EXPECT_TRUE(welcome.has_value());
    if (welcome) made->welcome = *welcome;
    EXPECT_TRUE(until([&] { return !accepted.empty(); }));
    return made;
  }
  RawPeer second_lane(Insider& of) {
    HelloFacts facts = hello();
    facts.session = of.welcome.session;
    facts.lane = 1;
    RawPeer lane = peer();
    ClientHandshake handshake(facts, of.handshake.session_key(), false);
    EXPECT_TRUE(lane.greet(handshake).has_value());
    return lane;
  }
  // The session of the insider ends, with this code and this word in the log.
  void expect_ended(Insider& liar, StatusCode code, const char* word) {
    EXPECT_TRUE(liar.raw.closed_by_peer());
    Side& server = accepted.front();
    ASSERT_TRUE(until([&] { return server.closed.has_value(); })) << word;
    EXPECT_EQ(server.closed->code(), code) << server.closed->to_string();
    EXPECT_NE(g_log.find(word), std::string::npos) << word << " not in: " << g_log;
    EXPECT_EQ(server.times_closed, 1);
    expect_honest_work();
  }
};

// --- before the handshake is over ---

TEST_P(Hostile, bytes_that_are_no_frame_end_the_connection) {
  for (const char* what :
       {"GET / HTTP/1.1\r\nHost: gd2fs\r\nUser-Agent: a browser of sorts\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello, which is "
        "long enough to be a header of ours"}) {
    RawPeer stranger = peer();
    stranger.send(as_bytes(what, std::strlen(what)));
    EXPECT_TRUE(stranger.closed_by_peer());
  }
  EXPECT_NE(g_log.find("wrong magic"), std::string::npos) << g_log;
  EXPECT_TRUE(accepted.empty());
  expect_honest_work();
}

TEST_P(Hostile, a_body_larger_than_a_handshake_needs_is_not_waited_for) {
  RawPeer stranger = peer();
  FrameHeader header = RawPeer::header_of(FrameKind::message, msg::Type::hello, {});
  header.body_bytes = kFrameBodyMaxBytes;
  stranger.send(header);
  EXPECT_TRUE(stranger.closed_by_peer());
  EXPECT_NE(g_log.find("not a frame of a handshake"), std::string::npos) << g_log;
  expect_honest_work();
}

TEST_P(Hostile, damaged_header_or_body_in_the_handshake_ends_it) {
  ClientHandshake handshake(hello(), kKey, false);
  const auto body = handshake.hello_body();
  for (const size_t at : {5u, 20u, 63u, 70u}) {
    RawPeer stranger = peer();
    std::vector<std::byte> frame(64);
    encode_frame_header(RawPeer::header_of(FrameKind::message, msg::Type::hello, body),
                        frame.data());
    frame.insert(frame.end(), body.begin(), body.end());
    frame[at] ^= std::byte{1};
    stranger.send(frame);
    EXPECT_TRUE(stranger.closed_by_peer()) << at;
  }
  EXPECT_TRUE(accepted.empty());
  expect_honest_work();
}

TEST_P(Hostile, requests_before_the_proof_are_refused) {
  RawPeer stranger = peer();
  stranger.say(FrameKind::message, msg::Type::read, pack_body(msg::ReadT{}), 1);
  EXPECT_TRUE(stranger.closed_by_peer());
  EXPECT_NE(g_log.find("does not begin with hello"), std::string::npos) << g_log;

  ClientHandshake handshake(hello(), kKey, false);
  RawPeer eager = peer();
  eager.say(FrameKind::message, msg::Type::hello, handshake.hello_body());
  ASSERT_TRUE(eager.hear().has_value());
  eager.say(FrameKind::message, msg::Type::read, pack_body(msg::ReadT{}), 1);
  EXPECT_TRUE(eager.closed_by_peer());
  EXPECT_NE(g_log.find("no proof"), std::string::npos) << g_log;
  EXPECT_TRUE(accepted.empty());
}

TEST_P(Hostile, a_stranger_without_the_token_learns_only_that_he_is_denied) {
  RawPeer stranger = peer();
  ClientHandshake handshake(hello(), "a guess", true);
  stranger.say(FrameKind::message, msg::Type::hello, handshake.hello_body());
  const auto challenge = stranger.hear();
  ASSERT_TRUE(challenge.has_value());
  const auto proof = handshake.on_challenge(challenge->body);
  ASSERT_TRUE(proof.has_value());
  stranger.say(FrameKind::message, msg::Type::proof, *proof);
  const auto refusal = stranger.hear();
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->header.type, static_cast<uint16_t>(msg::Type::error));
  EXPECT_TRUE(open_error(refusal->body).is(StatusCode::denied));
  EXPECT_TRUE(stranger.closed_by_peer());
  EXPECT_TRUE(accepted.empty());

  // A cluster that does not exist is challenged like any other.
  HelloFacts facts = hello();
  facts.cluster = "no-such-cluster";
  RawPeer prober = peer();
  ClientHandshake probe(facts, "a guess", true);
  prober.say(FrameKind::message, msg::Type::hello, probe.hello_body());
  const auto same = prober.hear();
  ASSERT_TRUE(same.has_value());
  EXPECT_EQ(same->body.size(), challenge->body.size());
}

TEST_P(Hostile, a_peer_of_another_version_is_told_so) {
  ClientHandshake handshake(hello(), kKey, false);
  msg::HelloT newer;
  open_body<msg::Hello>(handshake.hello_body())->UnPackTo(&newer);
  newer.version_min = newer.version_max = kProtocolVersion + 1;
  RawPeer stranger = peer();
  stranger.say(FrameKind::message, msg::Type::hello, pack_body(newer));
  const auto refusal = stranger.hear();
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->header.type, static_cast<uint16_t>(msg::Type::error));
  EXPECT_TRUE(open_error(refusal->body).is(StatusCode::unsupported));

  newer.version_min = kProtocolVersion;  // one that speaks ours as well
  newer.version_max = kProtocolVersion + 5;
  RawPeer bilingual = peer();
  bilingual.say(FrameKind::message, msg::Type::hello, pack_body(newer));
  const auto challenge = bilingual.hear();
  ASSERT_TRUE(challenge.has_value());
  const auto* chosen = open_body<msg::Challenge>(challenge->body);
  ASSERT_NE(chosen, nullptr);
  EXPECT_EQ(chosen->version(), kProtocolVersion);
}

TEST_P(Hostile, a_replayed_handshake_is_refused) {
  ClientHandshake handshake(hello(), kKey, false);
  RawPeer first = peer();
  first.say(FrameKind::message, msg::Type::hello, handshake.hello_body());
  const auto challenge = first.hear();
  ASSERT_TRUE(challenge.has_value());
  const auto proof = handshake.on_challenge(challenge->body);
  ASSERT_TRUE(proof.has_value());
  first.say(FrameKind::message, msg::Type::proof, *proof);
  ASSERT_TRUE(until([&] { return accepted.size() == 1; }));

  RawPeer replay = peer();
  replay.say(FrameKind::message, msg::Type::hello, handshake.hello_body());
  ASSERT_TRUE(replay.hear().has_value());
  replay.say(FrameKind::message, msg::Type::proof, *proof);
  EXPECT_TRUE(replay.closed_by_peer());
  EXPECT_EQ(accepted.size(), 1u);
  EXPECT_NE(g_log.find("denied"), std::string::npos);
}

TEST_P(Hostile, another_holder_of_the_token_cannot_join_a_session) {
  auto owner = insider();
  HelloFacts facts = hello();
  facts.session = owner->welcome.session;
  facts.lane = 1;
  RawPeer thief = peer();
  ClientHandshake with_token(facts, kKey, true);
  EXPECT_FALSE(thief.greet(with_token).has_value());
  EXPECT_NE(g_log.find("denied"), std::string::npos);

  RawPeer lane = peer();
  ClientHandshake rightful(facts, owner->handshake.session_key(), false);
  EXPECT_TRUE(lane.greet(rightful).has_value());
  RawPeer again = peer();  // the same lane a second time
  ClientHandshake twice(facts, owner->handshake.session_key(), false);
  EXPECT_FALSE(again.greet(twice).has_value());
  facts.incarnation = 6;  // another process of the same cluster
  RawPeer other = peer();
  ClientHandshake impostor(facts, owner->handshake.session_key(), false);
  EXPECT_FALSE(other.greet(impostor).has_value());
  EXPECT_FALSE(accepted.front().closed.has_value());
}

TEST_P(Hostile, a_silent_or_slow_stranger_is_sent_away_in_time) {
  listener.reset();
  listen(100 * kMs);
  RawPeer silent = peer();
  RawPeer slow = peer();
  const uint64_t begin_ns = clock.now_ns();
  ClientHandshake handshake(hello(), kKey, false);
  std::vector<std::byte> frame(64);
  encode_frame_header(
      RawPeer::header_of(FrameKind::message, msg::Type::hello, handshake.hello_body()),
      frame.data());
  bool slow_open = true;
  for (size_t i = 0; i < frame.size() && slow_open; ++i) {  // a byte now and then
    slow_open = slow.send(ConstBytes(frame).subspan(i, 1));
    for (int turns = 0; turns < 20; ++turns) turn();
  }
  EXPECT_TRUE(slow.closed_by_peer());
  EXPECT_TRUE(silent.closed_by_peer());
  EXPECT_LT(clock.now_ns() - begin_ns, 5 * kSecond);
  EXPECT_NE(g_log.find("too slow"), std::string::npos) << g_log;
}

TEST_P(Hostile, a_crowd_of_silent_strangers_is_bounded_and_an_honest_client_still_gets_in) {
  listener.reset();
  listen(60 * kSecond);
  std::list<RawPeer> crowd;
  for (int i = 0; i < 200; ++i) crowd.push_back(peer());
  auto& tcp_listener = static_cast<TcpListener&>(*listener);
  ASSERT_TRUE(until([&] { return tcp_listener.greetings() <= tcp.greetings_max; }));
  EXPECT_GT(tcp_listener.greetings(), 0u);
  expect_honest_work();
  EXPECT_LE(tcp_listener.greetings(), tcp.greetings_max);
}

// --- after it: a peer that has the token and lies ---

TEST_P(Hostile, bytes_that_are_no_frame_end_the_session) {
  auto liar = insider();
  const std::vector<std::byte> junk(200, std::byte{0x47});
  liar->raw.send(junk);
  expect_ended(*liar, StatusCode::invalid, "wrong magic");
}

TEST_P(Hostile, a_wrong_header_crc_ends_the_session) {
  auto liar = insider();
  std::vector<std::byte> frame(64);
  encode_frame_header(RawPeer::header_of(FrameKind::ping, msg::Type::none, {}), frame.data());
  frame[62] ^= std::byte{1};
  liar->raw.send(frame);
  expect_ended(*liar, StatusCode::invalid, "header crc");
}

TEST_P(Hostile, a_wrong_body_crc_ends_the_session_and_the_body_is_not_shown) {
  auto liar = insider();
  const auto body = pack_body(msg::FlushT{});
  FrameHeader header = RawPeer::header_of(FrameKind::message, msg::Type::flush, body, 1);
  header.body_crc ^= 1;
  liar->raw.send(header, body);
  expect_ended(*liar, StatusCode::corrupt, "body crc");
  EXPECT_TRUE(accepted.front().messages.empty());
}

TEST_P(Hostile, lengths_over_the_limits_end_the_session_before_memory_is_taken) {
  auto liar = insider();
  FrameHeader header = RawPeer::header_of(FrameKind::message, msg::Type::read, {}, 1);
  header.body_bytes = 0xFFFFFFFF;
  liar->raw.send(header);
  expect_ended(*liar, StatusCode::invalid, "body too long");
}

TEST_P(Hostile, a_connection_cut_in_the_middle_of_a_frame_ends_the_session) {
  auto liar = insider();
  FrameHeader header = RawPeer::header_of(FrameKind::message, msg::Type::read, {}, 1);
  header.body_bytes = 1000;
  const std::vector<std::byte> part(300);
  liar->raw.send(header, part);
  liar->raw.close();
  ASSERT_TRUE(until([&] { return accepted.front().closed.has_value(); }));
  EXPECT_TRUE(accepted.front().closed->is(StatusCode::unavailable));
  EXPECT_TRUE(accepted.front().messages.empty());
  expect_honest_work();
}

TEST_P(Hostile, a_request_id_used_twice_ends_the_session) {
  auto liar = insider();
  liar->raw.say(FrameKind::message, msg::Type::read, pack_body(msg::ReadT{}), 7);
  liar->raw.say(FrameKind::message, msg::Type::read, pack_body(msg::ReadT{}), 7);
  expect_ended(*liar, StatusCode::invalid, "request id twice");
}

TEST_P(Hostile, a_message_on_another_lane_than_the_first_ends_the_session) {
  auto liar = insider();
  RawPeer lane = second_lane(*liar);
  lane.say(FrameKind::message, msg::Type::read, pack_body(msg::ReadT{}), 1);
  expect_ended(*liar, StatusCode::invalid, "lane other than 0");
}

// On the loop both are received, and what they make of the checksums ends the pull; threads may not
// even write to the same memory.
TEST_P(Hostile, a_stripe_that_comes_over_two_lanes_never_counts_twice) {
  auto liar = insider();
  RawPeer lane = second_lane(*liar);
  liar->raw.say(FrameKind::message, msg::Type::write, pack_body(msg::WriteT{}), 1);
  Side& server = accepted.front();
  ASSERT_TRUE(until([&] { return server.messages.size() == 1; }));
  std::vector<std::byte> into(2 * kStripeDefaultBytes);
  std::vector<uint32_t> crcs(into.size() / kPullBlockBytes);
  PullFlag pull(1, 0, into);
  pull.block_crcs = crcs;
  server.session->pull(pull);

  const std::vector<std::byte> payload(kStripeDefaultBytes, std::byte{3});
  FrameHeader header = RawPeer::header_of(FrameKind::pulled, msg::Type::none, {}, 1);
  header.payload_bytes = kStripeDefaultBytes;
  header.payload_crc = crc32c(payload);
  std::vector<std::byte> frame(sizeof header);
  encode_frame_header(header, frame.data());
  frame.insert(frame.end(), payload.begin(), payload.end());
  lane.send(ConstBytes(frame).first(frame.size() / 2));
  for (int i = 0; i < 3; ++i) liar->raw.send(frame);
  lane.send(ConstBytes(frame).subspan(frame.size() / 2));
  lane.send(frame);
  for (int i = 0; i < 20; ++i) turn();
  EXPECT_FALSE(pull.finished && pull.status.ok());  // the other stripe was never sent
  header.offset = kStripeDefaultBytes;
  encode_frame_header(header, frame.data());
  lane.send(frame);
  ASSERT_TRUE(until([&] { return pull.finished; }));
  EXPECT_FALSE(server.closed.has_value());
  if (!GetParam()) return;
  EXPECT_TRUE(pull.status.ok()) << pull.status.to_string();
  EXPECT_TRUE(std::ranges::all_of(into, [](std::byte b) { return b == std::byte{3}; }));
  for (size_t i = 0; i < crcs.size(); ++i) {
    EXPECT_EQ(crcs[i], crc32c(ConstBytes(payload).first(kPullBlockBytes))) << i;
  }
}

TEST_P(Hostile, stripes_replies_and_answers_that_nobody_asked_for_are_thrown_away) {
  auto liar = insider();
  const std::vector<std::byte> payload(100'000, std::byte{1});
  for (const FrameKind kind : {FrameKind::stripe, FrameKind::pulled}) {
    FrameHeader header = RawPeer::header_of(kind, msg::Type::none, {}, 12345);
    header.payload_bytes = static_cast<uint32_t>(payload.size());
    header.payload_crc = 1;  // not even right
    ASSERT_TRUE(liar->raw.send(header, {}, payload));
  }
  FrameHeader gone = RawPeer::header_of(FrameKind::pull_gone, msg::Type::none, {}, 12345);
  gone.length = 100;
  liar->raw.send(gone);
  liar->raw.say(FrameKind::reply, msg::Type::read, {}, 12345);
  liar->raw.say(FrameKind::message, msg::Type::flush, pack_body(msg::FlushT{}), 1);
  Side& server = accepted.front();
  ASSERT_TRUE(until([&] { return server.messages.size() == 1; }));
  EXPECT_FALSE(server.closed.has_value());
  EXPECT_EQ(server.replies.size(), 1u);  // its owner knows no such request
}

TEST_P(Hostile, a_type_that_nobody_knows_reaches_the_handler_which_answers_unsupported) {
  auto newer = insider();
  newer->raw.say(FrameKind::message, static_cast<msg::Type>(60000), {}, 1);
  Side& server = accepted.front();
  ASSERT_TRUE(until([&] { return server.messages.size() == 1; }));
  EXPECT_EQ(server.messages[0].type, 60000);
  reply_error(*server.session, 1, Status(StatusCode::unsupported));
  const auto reply = newer->raw.hear();
  ASSERT_TRUE(reply.has_value());
  EXPECT_TRUE(open_error(reply->body).is(StatusCode::unsupported));
}

TEST_P(Hostile, a_pull_of_an_unknown_window_is_answered_gone) {
  auto puller = insider();
  FrameHeader header = RawPeer::header_of(FrameKind::pull, msg::Type::none, {}, 99);
  header.offset = 10;
  header.length = 4096;
  puller->raw.send(header);
  const auto gone = puller->raw.hear();
  ASSERT_TRUE(gone.has_value());
  EXPECT_EQ(gone->header.kind, FrameKind::pull_gone);
  EXPECT_EQ(gone->header.request_id, 99u);
  EXPECT_EQ(gone->header.offset, 10u);
  EXPECT_EQ(gone->header.length, 4096u);
}

TEST_P(Hostile, a_peer_that_asks_without_end_and_never_reads_is_cut_off) {
  auto liar = insider();
  FrameHeader pull = RawPeer::header_of(FrameKind::pull, msg::Type::none, {}, 99);
  pull.length = 1;
  std::vector<std::byte> many;
  for (int i = 0; i < 1000; ++i) {
    many.resize(many.size() + 64);
    encode_frame_header(pull, many.data() + many.size() - 64);
  }
  uint64_t sent = 0;
  while (sent < (uint64_t{1} << 30) && liar->raw.send(many)) sent += many.size();
  EXPECT_LT(sent, uint64_t{1} << 30);
  expect_ended(*liar, StatusCode::invalid, "pulls and does not read");
}

TEST_P(Hostile, a_flood_of_pings_is_answered_without_a_growing_queue) {
  auto liar = insider();
  std::vector<std::byte> many;
  for (int i = 0; i < 1000; ++i) {
    many.resize(many.size() + 64);
    encode_frame_header(RawPeer::header_of(FrameKind::ping, msg::Type::none, {}),
                        many.data() + many.size() - 64);
  }
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(liar->raw.send(many));
  liar->raw.say(FrameKind::message, msg::Type::flush, pack_body(msg::FlushT{}), 1);
  ASSERT_TRUE(until([&] { return accepted.front().messages.size() == 1; }));
  const auto pong = liar->raw.hear();
  ASSERT_TRUE(pong.has_value());
  EXPECT_EQ(pong->header.kind, FrameKind::pong);
}

TEST_P(Hostile, refusals_do_not_fill_the_log) {
  for (int i = 0; i < 100; ++i) {
    RawPeer stranger = peer();
    const std::vector<std::byte> junk(64);
    stranger.send(junk);
    EXPECT_TRUE(stranger.closed_by_peer());
  }
  EXPECT_LT(std::ranges::count(g_log, '\n'), 40);
}

INSTANTIATE_TEST_SUITE_P(Lanes, Hostile, testing::Bool(), [](const auto& chosen) {
  return std::string(chosen.param ? "moved_by_threads" : "moved_by_the_loop");
});

}  // namespace
}  // namespace gd2fs
