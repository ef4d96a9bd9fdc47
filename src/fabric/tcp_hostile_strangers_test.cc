// Strangers: what they say before a handshake is over ends their connection with a logged reason,
// costs little memory, and disturbs nobody else.
#include <algorithm>
#include <cstring>

#include "fabric/tcp_hostile_fixture.h"
#include "fabric/tcp_listener.h"

namespace gd2fs {
namespace {

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
