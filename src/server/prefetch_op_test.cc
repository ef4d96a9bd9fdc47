#include "server/prefetch_op.h"

#include "server/connection_fixture.h"

namespace gd2fs::server {
namespace {

struct PrefetchOpTest : ConnectionFixture {
  template <class Request>
  static Request request_of(uint32_t pieces) {
    Request request;
    request.handle = 1;
    request.generation = 1;
    request.namespace_epoch = kNamespaceEpoch;
    request.epoch = kGroupEpoch;
    for (uint32_t i = 0; i < pieces; ++i) request.pieces.emplace_back(0, i, 0, kMiB, 0);
    return request;
  }
};

TEST_F(PrefetchOpTest, pieces_are_filled_a_few_at_a_time_and_none_is_pushed) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  store.auto_read = false;
  for (uint32_t i = 0; i < 10; ++i) store.chunks[{kInode, i}] = pattern(kMiB / 2, i);
  session.deliver(msg::Type::prefetch, 7, request_of<msg::PrefetchT>(10));
  settle();
  EXPECT_EQ(store.reads.size(), PrefetchOp::kFillsMax);
  EXPECT_TRUE(store.reads.front()->fill_only);
  while (!store.reads.empty()) {
    // One finds no room, which is no failure.
    store.finish_read(store.reads_seen == 6 ? Status(StatusCode::busy) : Status());
    settle();
    EXPECT_LE(store.reads.size(), PrefetchOp::kFillsMax);
  }
  ASSERT_EQ(answer(session, 7), Status());
  EXPECT_EQ(session.replies[0].open<msg::PrefetchReply>()->resident_bytes(), 10 * kMiB / 2);
  EXPECT_EQ(session.pushes_seen, 0u);
  EXPECT_EQ(state->prefetch_ops.in_use(), 0u);
}

TEST_F(PrefetchOpTest, a_failure_ends_it_when_what_is_in_flight_has_ended) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  store.auto_read = false;
  session.deliver(msg::Type::prefetch, 7, request_of<msg::PrefetchT>(10));
  settle();
  store.finish_read(Status(StatusCode::corrupt, "a block"));
  settle();
  EXPECT_TRUE(answer(session, 7).is(StatusCode::not_found));  // not yet
  while (!store.reads.empty()) store.finish_read();
  settle();
  EXPECT_TRUE(answer(session, 7).is(StatusCode::corrupt));
  EXPECT_EQ(store.reads_seen, PrefetchOp::kFillsMax);
}

TEST_F(PrefetchOpTest, a_closed_session_ends_it_too) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  store.auto_read = false;
  session.deliver(msg::Type::prefetch, 7, request_of<msg::PrefetchT>(10));
  settle();
  session.close(Status(StatusCode::unavailable, "gone"));
  settle();
  EXPECT_EQ(ended, 0u);
  while (!store.reads.empty()) store.finish_read();
  settle();
  EXPECT_EQ(ended, 1u);
}

TEST_F(PrefetchOpTest, residency_only_counts) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  store.chunks[{kInode, 1}] = pattern(1000, 1);
  session.deliver(msg::Type::residency, 7, request_of<msg::ResidencyT>(3));
  settle();
  ASSERT_EQ(answer(session, 7), Status());
  EXPECT_EQ(session.replies[0].open<msg::ResidencyReply>()->resident_bytes(), 1000u);
  EXPECT_EQ(store.reads_seen, 0u);
  auto stale = request_of<msg::ResidencyT>(1);
  stale.namespace_epoch = 1;
  session.deliver(msg::Type::residency, 8, stale);
  settle();
  EXPECT_TRUE(answer(session, 8).is(StatusCode::stale));
}

TEST_F(PrefetchOpTest, a_capability_says_whether_its_file_is_pinned) {
  FakeSession& session = connect();
  Capability pinned = capability();
  pinned.pinned = true;
  bind(session, 1, pinned);
  ASSERT_EQ(store.pins.size(), 1u);
  EXPECT_TRUE(store.pins[0].pinned && !store.pins[0].told);
  EXPECT_EQ(store.pins[0].stamp_us, pinned.expiry_us);
}

}  // namespace
}  // namespace gd2fs::server
