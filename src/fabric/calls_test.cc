#include "fabric/calls.h"

#include <optional>

#include <gtest/gtest.h>

#include "sim/fake_session.h"

namespace gd2fs {
namespace {

class StillClock final : public Clock {
 public:
  uint64_t now_ns() override { return now; }
  uint64_t wall_us() override { return 0; }
  uint64_t now = 1;
};

struct CallsTest : testing::Test, SessionEvents {
  StillClock clock;
  Loop loop{clock, Loop::Waits::never};
  FakeSession session{loop, Peer{}};
  Calls calls{loop, session};
  std::optional<Result<CallReply>> first;
  std::optional<Result<CallReply>> second;

  CallsTest() { session.set_events(this); }
  void on_message(Session&, const Message&) override { FAIL(); }
  void on_reply(Session&, const Message& reply) override { calls.on_reply(reply); }
  void on_closed(Session&, const Status& reason) override { calls.on_closed(reason); }

  static Task<void> ask(Calls* calls, std::optional<Result<CallReply>>* into) {
    auto reply = co_await calls->call(msg::Type::heartbeat, pack_body(msg::HeartbeatT{}), kSecond);
    into->emplace(std::move(reply));
  }
  void ask_twice() {
    loop.spawn(ask(&calls, &first));
    loop.spawn(ask(&calls, &second));
    settle();
    ASSERT_EQ(session.sent.size(), 2u);
  }
  void settle() {
    while (loop.run_ready() > 0) {
    }
  }
};

TEST_F(CallsTest, replies_reach_their_requests_in_any_order) {
  ask_twice();
  msg::HeartbeatReplyT reply;
  reply.lease_ms = 2;
  session.answer(session.sent[1], reply);
  reply.lease_ms = 1;
  session.answer(session.sent[0], reply);
  settle();
  ASSERT_TRUE(first && first->has_value());
  ASSERT_TRUE(second && second->has_value());
  EXPECT_EQ((*first)->open<msg::HeartbeatReply>()->lease_ms(), 1u);
  EXPECT_EQ((*second)->open<msg::HeartbeatReply>()->lease_ms(), 2u);
  EXPECT_EQ(calls.unanswered(), 0u);
}

TEST_F(CallsTest, an_error_reply_is_the_peers_status_and_a_wrong_type_is_invalid) {
  ask_twice();
  session.answer_error(session.sent[0], Status(StatusCode::stale, "old"));
  FakeSession::Sent other = session.sent[1];
  other.type = static_cast<uint16_t>(msg::Type::read);
  session.answer(other, msg::ReadReplyT{});
  settle();
  EXPECT_TRUE(first->error().is(StatusCode::stale));
  EXPECT_EQ(first->error().text(), "old");
  EXPECT_TRUE(second->error().is(StatusCode::invalid));
}

TEST_F(CallsTest, a_silent_peer_is_timed_out_and_its_late_reply_is_ignored) {
  ask_twice();
  clock.now += 2 * kSecond;
  settle();
  EXPECT_TRUE(first->error().is(StatusCode::timed_out));
  session.answer(session.sent[0], msg::HeartbeatReplyT{});
  settle();
  EXPECT_TRUE(first->error().is(StatusCode::timed_out));
}

TEST_F(CallsTest, closing_ends_open_and_later_calls) {
  ask_twice();
  session.close(Status(StatusCode::unavailable, "the peer died"));
  settle();
  EXPECT_EQ(first->error().text(), "the peer died");
  EXPECT_EQ(second->error().text(), "the peer died");
  first.reset();
  loop.spawn(ask(&calls, &first));
  settle();
  EXPECT_TRUE(first->error().is(StatusCode::unavailable));
}

}  // namespace
}  // namespace gd2fs
