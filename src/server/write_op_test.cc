#include "server/write_op.h"

#include "server/connection_fixture.h"

namespace gd2fs::server {
namespace {

struct WriteOpTest : ConnectionFixture {
  msg::WritePiece piece(uint64_t sequence, uint32_t chunk, uint32_t offset, uint32_t length,
                        uint64_t window_offset = 0) {
    return {window_offset, sequence, chunk, offset, length, 0};
  }
  bool stored(uint32_t chunk, uint32_t offset, ConstBytes bytes) {
    const auto& kept = store.chunks[{kInode, chunk}];
    return kept.size() >= offset + bytes.size() &&
           std::equal(bytes.begin(), bytes.end(), kept.begin() + offset);
  }
};

TEST_F(WriteOpTest, pieces_are_pulled_into_the_slab_and_committed) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  session.windows[7] = pattern(3 * kMiB + 100, 1);
  session.deliver(msg::Type::write, 7,
                  write_of({piece(1, 0, 1000, 3 * kMiB), piece(2, 9, 0, 100, 3 * kMiB)}));
  settle();
  ASSERT_EQ(answer(session, 7), Status());
  EXPECT_EQ(session.replies[0].open<msg::WriteReply>()->written_bytes(), 3 * kMiB + 100);
  const ConstBytes sent(session.windows[7]);
  EXPECT_TRUE(stored(0, 1000, sent.first(3 * kMiB)));
  EXPECT_TRUE(stored(9, 0, sent.subspan(3 * kMiB)));
  EXPECT_EQ(state->write_ops.in_use(), 0u);
  EXPECT_EQ(state->write_steps.in_use(), 0u);
}

TEST_F(WriteOpTest, the_reply_waits_for_the_last_commit) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  store.auto_commit = false;
  session.windows[7] = pattern(2 * kMiB, 1);
  session.deliver(msg::Type::write, 7,
                  write_of({piece(1, 0, 0, kMiB), piece(2, 1, 0, kMiB, kMiB)}));
  settle();
  ASSERT_EQ(store.commits.size(), 2u);
  store.finish_commit();
  settle();
  EXPECT_TRUE(answer(session, 7).is(StatusCode::not_found));
  store.finish_commit();
  settle();
  EXPECT_EQ(answer(session, 7), Status());
}

TEST_F(WriteOpTest, a_piece_seen_before_is_answered_without_pulling_it_again) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  session.windows[7] = pattern(8192, 1);
  session.windows[8] = pattern(8192, 2);  // a retry that would store other bytes is noticed
  session.deliver(msg::Type::write, 7, write_of({piece(1, 0, 0, 4096)}));
  settle();
  session.deliver(msg::Type::write, 8,
                  write_of({piece(1, 0, 0, 4096), piece(2, 0, 4096, 4096, 4096)}));
  settle();
  EXPECT_EQ(answer(session, 8), Status());
  EXPECT_EQ(session.replies[1].open<msg::WriteReply>()->written_bytes(), 8192u);
  EXPECT_EQ(session.pulls_seen, 2u);
  EXPECT_TRUE(stored(0, 0, ConstBytes(session.windows[7]).first(4096)));
  EXPECT_EQ(state->counters.write_replays_total, 1u);
}

TEST_F(WriteOpTest, a_recorded_failure_is_the_answer_to_its_retry) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  store.results[{99, 1}] = Status(StatusCode::stale, "first answer");
  session.deliver(msg::Type::write, 7, write_of({piece(1, 0, 0, 4096)}));
  settle();
  EXPECT_TRUE(answer(session, 7).is(StatusCode::stale));
  EXPECT_EQ(session.pulls_seen, 0u);
}

TEST_F(WriteOpTest, a_known_piece_is_answered_even_when_everything_has_become_stale) {
  FakeSession& session = connect();
  Capability bound = capability();
  bound.expiry_us = clock.wall_us() + 1'000'000;
  bind(session, 1, bound);
  session.windows[7] = pattern(4096, 1);
  session.deliver(msg::Type::write, 7, write_of({piece(1, 0, 0, 4096)}));
  settle();
  ASSERT_EQ(answer(session, 7), Status());
  store.fences[kInode].generation = 2;
  state->authority.raise_namespace(kCluster, kNamespaceEpoch + 1);
  pass(2 * kSecond);
  session.deliver(msg::Type::write, 8, write_of({piece(1, 0, 0, 4096)}));
  settle();
  EXPECT_EQ(answer(session, 8), Status());
  session.deliver(msg::Type::write, 9, write_of({piece(2, 0, 0, 4096)}));
  settle();
  EXPECT_TRUE(answer(session, 9).is(StatusCode::stale));
  EXPECT_EQ(store.aborts_seen, 1u);
}

TEST_F(WriteOpTest, a_second_copy_waits_for_the_first_and_gets_its_answer) {
  FakeSession& broken = connect();
  FakeSession& fresh = connect();
  bind(broken, 1, capability());
  bind(fresh, 1, capability());
  store.auto_commit = false;
  broken.windows[7] = pattern(4096, 1);
  fresh.windows[7] = pattern(4096, 1);
  broken.deliver(msg::Type::write, 7, write_of({piece(1, 0, 0, 4096)}));
  settle();
  ASSERT_EQ(store.commits.size(), 1u);
  broken.close(Status(StatusCode::unavailable, "broken"));
  settle();
  // A rename makes the request old while its first copy is being committed.
  state->authority.raise_namespace(kCluster, kNamespaceEpoch + 1);
  fresh.deliver(msg::Type::write, 7, write_of({piece(1, 0, 0, 4096)}));
  pass(10 * kMs);
  EXPECT_TRUE(answer(fresh, 7).is(StatusCode::not_found));
  store.finish_commit();
  settle();
  pass(10 * kMs);
  EXPECT_EQ(answer(fresh, 7), Status());
  EXPECT_EQ(fresh.pulls_seen, 0u);
  EXPECT_TRUE(state->tags_in_flight.empty());
}

TEST_F(WriteOpTest, a_copy_whose_bytes_will_never_come_gives_way_to_a_newer_one) {
  FakeSession& dead = connect();  // cut off, but nobody has noticed yet
  FakeSession& fresh = connect();
  bind(dead, 1, capability());
  bind(fresh, 1, capability());
  dead.auto_pull = false;
  fresh.windows[7] = pattern(4096, 1);
  dead.deliver(msg::Type::write, 7, write_of({piece(1, 0, 0, 4096)}));
  settle();
  fresh.deliver(msg::Type::write, 7, write_of({piece(1, 0, 0, 4096)}));
  settle();
  pass(2 * kMs);
  EXPECT_EQ(answer(fresh, 7), Status());
  EXPECT_TRUE(answer(dead, 7).is(StatusCode::canceled));
  EXPECT_TRUE(stored(0, 0, fresh.windows[7]));
}

TEST_F(WriteOpTest, what_is_refused_at_the_commit_says_which_pieces_are_durable) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  session.auto_pull = false;
  session.windows[7] = pattern(3 * 4096, 1);
  session.deliver(
      msg::Type::write, 7,
      write_of({piece(1, 0, 0, 4096), piece(2, 1, 0, 4096, 4096), piece(3, 2, 0, 4096, 8192)}));
  settle();
  Pull* first = session.pulls.front();
  Pull* second = session.pulls.next(*first);
  session.feed(*second);
  settle();
  state->authority.raise_namespace(kCluster, kNamespaceEpoch + 1);
  while (!session.pulls.empty()) session.feed(*session.pulls.front());
  settle();
  EXPECT_TRUE(answer(session, 7).is(StatusCode::stale));
  const auto* done = session.replies[0].open<msg::Error>()->done();
  ASSERT_NE(done, nullptr);
  EXPECT_EQ(done->Get(0), 0b010u);
  EXPECT_EQ(store.aborts_seen, 2u);
}

TEST_F(WriteOpTest, no_space_is_answered_before_any_byte_moves) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  store.reserve_status = Status(StatusCode::no_space, "drives full");
  session.deliver(msg::Type::write, 7, write_of({piece(1, 0, 0, 4096)}));
  settle();
  EXPECT_TRUE(answer(session, 7).is(StatusCode::no_space));
  EXPECT_EQ(session.pulls_seen, 0u);
}

TEST_F(WriteOpTest, a_withdrawn_window_aborts_its_reservation) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  session.auto_pull = false;
  session.deliver(msg::Type::write, 7, write_of({piece(1, 0, 0, 4096)}));
  settle();
  ASSERT_EQ(store.reserved.size(), 1u);
  session.feed(*session.pulls.front());  // no such window: canceled
  settle();
  EXPECT_TRUE(answer(session, 7).is(StatusCode::canceled));
  EXPECT_EQ(store.aborts_seen, 1u);
  EXPECT_TRUE(store.reserved.empty());
}

TEST_F(WriteOpTest, a_canceled_write_aborts_what_it_pulls_and_lets_a_commit_end) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  session.auto_pull = false;
  store.auto_commit = false;
  session.windows[7] = pattern(8192, 1);
  session.deliver(msg::Type::write, 7,
                  write_of({piece(1, 0, 0, 4096), piece(2, 1, 0, 4096, 4096)}));
  settle();
  session.feed(*session.pulls.front());
  settle();
  ASSERT_EQ(store.commits.size(), 1u);
  msg::CancelT cancel;
  cancel.request_id = 7;
  session.deliver(msg::Type::cancel, 0, cancel);
  settle();
  EXPECT_EQ(store.aborts_seen, 1u);
  EXPECT_TRUE(answer(session, 7).is(StatusCode::not_found));
  store.finish_commit();
  settle();
  EXPECT_TRUE(answer(session, 7).is(StatusCode::canceled));
  EXPECT_EQ(state->write_steps.in_use(), 0u);
  EXPECT_EQ(state->small_writes.bytes_in_flight(), 0u);
}

TEST_F(WriteOpTest, nothing_is_committed_once_the_lease_has_ended) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  session.auto_pull = false;
  session.windows[7] = pattern(4096, 1);
  session.deliver(msg::Type::write, 7, write_of({piece(1, 0, 0, 4096)}));
  settle();
  pass(6 * kSecond);
  session.feed(*session.pulls.front());
  settle();
  EXPECT_TRUE(answer(session, 7).is(StatusCode::unavailable));
  EXPECT_TRUE(store.chunks.empty());
  EXPECT_EQ(store.aborts_seen, 1u);
}

TEST_F(WriteOpTest, write_memory_is_bounded_for_one_session_and_for_all) {
  std::vector<FakeSession*> sessions;
  for (int s = 0; s < 4; ++s) {
    sessions.push_back(&connect());
    bind(*sessions.back(), 1, capability());
    sessions.back()->auto_pull = false;
    sessions.back()->windows[7] = pattern(16 * kMiB, 1);
    std::vector<msg::WritePiece> pieces;
    for (uint32_t i = 0; i < 4; ++i) {
      pieces.push_back(piece(uint64_t(s) * 100 + i + 1, i, 0, 4 * kMiB, uint64_t{i} * 4 * kMiB));
    }
    sessions.back()->deliver(msg::Type::write, 7, write_of(std::move(pieces)));
    settle();
    if (s == 0) {
      EXPECT_EQ(state->big_writes.bytes_in_flight(), 8 * kMiB);
    }
  }
  EXPECT_EQ(state->big_writes.bytes_in_flight(), 16 * kMiB);
  for (bool fed = true; fed;) {
    fed = false;
    for (FakeSession* session : sessions) {
      if (session->pulls.empty()) continue;
      session->feed(*session->pulls.front());
      settle();
      EXPECT_LE(state->big_writes.bytes_in_flight(), 16 * kMiB);
      fed = true;
    }
  }
  for (FakeSession* session : sessions) EXPECT_EQ(answer(*session, 7), Status());
  EXPECT_EQ(state->big_writes.bytes_in_flight(), 0u);
}

TEST_F(WriteOpTest, a_closed_session_aborts_its_writes_and_ends_after_the_last_commit) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  session.auto_pull = false;
  store.auto_commit = false;
  session.windows[7] = pattern(8192, 1);
  session.deliver(msg::Type::write, 7,
                  write_of({piece(1, 0, 0, 4096), piece(2, 1, 0, 4096, 4096)}));
  settle();
  session.feed(*session.pulls.front());
  settle();
  session.close(Status(StatusCode::unavailable, "gone"));
  settle();
  EXPECT_EQ(ended, 0u);
  EXPECT_EQ(store.aborts_seen, 1u);
  store.finish_commit();
  settle();
  EXPECT_EQ(ended, 1u);
  EXPECT_EQ(state->write_ops.in_use(), 0u);
}

}  // namespace
}  // namespace gd2fs::server
