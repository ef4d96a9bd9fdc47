// Insiders: peers that have the token and lie; what they say ends no more than their session, with
// a logged reason. (tcp_hostile_strangers_test.cc says for which lanes.)
#include <algorithm>

#include "fabric/reply.h"
#include "fabric/tcp_hostile_fixture.h"

namespace gd2fs {
namespace {

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

}  // namespace
}  // namespace gd2fs
