#include "server/read_op.h"

#include "server/connection_fixture.h"

namespace gd2fs::server {
namespace {

// Hits end within the call that asks for them, or later.
class ReadOpTest : public ConnectionFixture, public testing::WithParamInterface<bool> {
 protected:
  ReadOpTest() { store.answers_now = GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(Hits, ReadOpTest, testing::Bool(),
                         [](const auto& param) { return param.param ? "now" : "later"; });

TEST_P(ReadOpTest, pieces_of_several_chunks_arrive_at_their_places_and_the_reply_counts_hits) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  store.chunks[{kInode, 0}] = pattern(4 * kMiB, 1);
  store.chunks[{kInode, 5}] = pattern(2 * kMiB, 2);
  session.deliver(msg::Type::read, 7,
                  read_of({{0, 0, 1000, 3 * kMiB, 0}, {3 * kMiB, 5, 4096, 100, 0}}));
  settle();
  ASSERT_EQ(answer(session, 7), Status());
  const auto* reply = session.replies[0].open<msg::ReadReply>();
  ASSERT_NE(reply, nullptr);
  EXPECT_EQ(reply->hit_bytes(), 3 * kMiB + 100);
  EXPECT_EQ(reply->miss_bytes(), 0u);
  const auto& window = session.windows[7];
  ASSERT_EQ(window.size(), 3 * kMiB + 100);
  EXPECT_TRUE(std::equal(window.begin(), window.begin() + 3 * kMiB,
                         store.chunks[{kInode, 0}].begin() + 1000));
  EXPECT_TRUE(std::equal(window.begin() + 3 * kMiB, window.end(),
                         store.chunks[{kInode, 5}].begin() + 4096));
  EXPECT_EQ(state->read_ops.in_use(), 0u);
  EXPECT_EQ(state->read_steps.in_use(), 0u);
}

TEST_P(ReadOpTest, what_ends_at_once_is_under_way_before_the_next_message_is_looked_at) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  store.chunks[{kInode, 0}] = pattern(4 * kMiB, 1);
  session.auto_push = false;
  session.deliver(msg::Type::read, 7, read_of({{0, 0, 0, 4 * kMiB, 0}}));
  EXPECT_EQ(session.pushes_seen > 0, GetParam());
  session.auto_push = true;
  while (Push* push = session.pushes.front()) session.land(*push);
  settle();
  while (Push* push = session.pushes.front()) session.land(*push);
  settle();
  EXPECT_EQ(answer(session, 7), Status());
  EXPECT_TRUE(session.windows[7] == store.chunks[(ChunkKey{kInode, 0})]);
  EXPECT_EQ(state->read_ops.in_use(), 0u);
}

// Steps that end at once, of both queues by turns, and more of them than one call may take.
TEST_P(ReadOpTest, pieces_of_nothing_but_holes_small_and_large_are_answered_once) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  std::vector<msg::ReadPiece> pieces;
  uint64_t at = 0;
  for (uint32_t chunk = 0; chunk < 200; ++chunk) {
    const uint32_t length = chunk % 2 == 0 ? 4096 : 2 * kMiB;
    pieces.emplace_back(at, chunk, 0, length, 0);
    at += length;
  }
  session.deliver(msg::Type::read, 7, read_of(std::move(pieces)));
  settle();
  ASSERT_EQ(session.replies.size(), 1u);
  ASSERT_EQ(answer(session, 7), Status());
  const auto* holes = session.replies[0].open<msg::ReadReply>()->zeros();
  ASSERT_NE(holes, nullptr);
  EXPECT_EQ(holes->Get(0)->length_bytes(), at);
  EXPECT_EQ(state->read_ops.in_use(), 0u);
  EXPECT_EQ(state->read_steps.in_use(), 0u);
}

TEST_P(ReadOpTest, an_error_known_at_once_is_answered_once_also_beside_steps_under_way) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  store.chunks[{kInode, 0}] = pattern(4 * kMiB, 1);
  store.chunks[{kInode, 1}] = pattern(4 * kMiB, 2);
  session.auto_push = false;
  session.deliver(msg::Type::read, 7,
                  read_of({{0, 0, 0, 4 * kMiB, 0}, {4 * kMiB, 1, 0, 4 * kMiB, 0}}));
  settle();
  EXPECT_FALSE(session.pushes.empty());
  store.fences[kInode].generation = UINT64_MAX;
  session.deliver(msg::Type::read, 8,
                  read_of({{0, 0, 0, 4096, 0}, {4096, 1, 0, 4 * kMiB, 0}, {5 * kMiB, 1, 0, 9, 0}}));
  settle();
  EXPECT_TRUE(answer(session, 8).is(StatusCode::stale));
  session.auto_push = true;
  while (!session.pushes.empty()) {
    session.land(*session.pushes.front());
    settle();
  }
  EXPECT_EQ(answer(session, 7), Status());
  EXPECT_EQ(session.replies.size(), 2u);
  EXPECT_EQ(state->read_ops.in_use(), 0u);
  EXPECT_EQ(state->read_steps.in_use(), 0u);
}

TEST_P(ReadOpTest, holes_are_named_and_not_pushed) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  store.slice_bytes = 64 * kKiB;
  store.chunks[{kInode, 0}] = pattern(128 * kKiB, 1);
  session.deliver(msg::Type::read, 7, read_of({{10, 0, 0, 256 * kKiB, 0}}));
  settle();
  ASSERT_EQ(answer(session, 7), Status());
  const auto* holes = session.replies[0].open<msg::ReadReply>()->zeros();
  ASSERT_NE(holes, nullptr);
  ASSERT_EQ(holes->size(), 1u);
  EXPECT_EQ(holes->Get(0)->window_offset(), 10 + 128 * kKiB);
  EXPECT_EQ(holes->Get(0)->length_bytes(), 128 * kKiB);
  EXPECT_EQ(session.windows[7].size(), 10 + 128 * kKiB);
}

TEST_P(ReadOpTest, only_a_stream_is_filled_ahead_for_and_by_twice_its_size) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  store.chunks[{kInode, 0}] = pattern(4 * kMiB, 1);
  uint64_t request_id = 0;
  const auto ahead_of = [&](std::vector<msg::ReadPiece> pieces, bool stream) {
    msg::ReadT read = read_of(std::move(pieces));
    read.sequential = true;
    read.stream = stream;
    session.deliver(msg::Type::read, ++request_id, read);
    settle();
    EXPECT_EQ(answer(session, request_id), Status());
    return store.ahead_bytes_seen;
  };
  EXPECT_EQ(ahead_of({{0, 0, 0, 4 * kMiB, 0}}, false), 0u);
  EXPECT_EQ(ahead_of({{0, 0, 0, 64 * kKiB, 0}}, true), 8 * kMiB);
  EXPECT_EQ(ahead_of({{0, 0, 0, 4 * kMiB, 0}, {4 * kMiB, 1, 0, 2 * kMiB, 0}}, true), 12 * kMiB);
  EXPECT_EQ(
      ahead_of(
          {{0, 0, 0, 4 * kMiB, 0}, {4 * kMiB, 1, 0, 4 * kMiB, 0}, {8 * kMiB, 2, 0, 4 * kMiB, 0}},
          true),
      16 * kMiB);
}

TEST_P(ReadOpTest, a_long_request_ends_with_small_steps_and_says_what_is_left) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  for (uint32_t chunk = 0; chunk < 2; ++chunk) {
    store.chunks[{kInode, chunk}] = pattern(4 * kMiB, chunk);
  }
  uint64_t request_id = 0;
  const auto steps_of = [&](flatbuffers::Optional<uint64_t> follows_bytes) {
    msg::ReadT read = read_of({{0, 0, 0, 4 * kMiB, 0}, {4 * kMiB, 1, 0, 4 * kMiB, 0}});
    read.follows_bytes = follows_bytes;
    store.steps_seen.clear();
    session.deliver(msg::Type::read, ++request_id, read);
    settle();
    EXPECT_EQ(answer(session, request_id), Status());
    return store.steps_seen;
  };
  using Steps = std::vector<FakeStore::SeenStep>;
  constexpr uint32_t k4 = 4 << 20;
  constexpr uint32_t k1 = 1 << 20;
  EXPECT_EQ(
      steps_of(0),
      Steps({{k4, k4, k4}, {k1, 3 * kMiB, k1}, {k1, 2 * kMiB, k1}, {k1, kMiB, k1}, {k1, 0, k1}}));
  EXPECT_EQ(steps_of(16 * kMiB), Steps({{k4, 20 * kMiB, k4}, {k4, 16 * kMiB, k4}}));
  EXPECT_EQ(steps_of({}), Steps({{k4, UINT64_MAX, k4}, {k4, UINT64_MAX, k4}}));
  steps_of(UINT64_MAX);  // any word of a client will do
}

TEST_P(ReadOpTest, more_holes_than_a_reply_can_name_are_sent_as_zeros) {
  FakeSession& session = connect();
  Capability wide = capability();
  wide.chunk_log2 = 26;
  bind(session, 1, wide);
  store.slice_bytes = 512;
  std::vector<msg::ReadPiece> pieces;
  for (uint32_t i = 0; i < kPiecesMax; ++i) {
    pieces.emplace_back(uint64_t{i} * kMiB, i, 0, 512 * 512, 0);
    store.chunks[{kInode, i}] = pattern(512 * 512, i);
  }
  store.alternate_holes = true;
  session.deliver(msg::Type::read, 7, read_of(std::move(pieces)));
  settle();
  ASSERT_EQ(answer(session, 7), Status());
  const auto* reply = session.replies[0].open<msg::ReadReply>();
  ASSERT_NE(reply, nullptr);
  EXPECT_EQ(reply->zeros()->size(), ReadOp::kHolesMax);
  uint64_t named_bytes = 0;
  for (const msg::Range* hole : *reply->zeros()) named_bytes += hole->length_bytes();
  EXPECT_EQ(named_bytes + state->counters.read_bytes_total, kPiecesMax * 512 * 512u);
  EXPECT_LE(session.replies[0].body.size(), kFrameBodyMaxBytes);
}

TEST_P(ReadOpTest, each_slice_is_pushed_while_other_chunks_are_still_read) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  store.auto_read = false;
  for (uint32_t i = 0; i < 2; ++i) store.chunks[{kInode, i}] = pattern(kMiB, i);
  session.deliver(msg::Type::read, 7, read_of({{0, 0, 0, kMiB, 0}, {kMiB, 1, 0, kMiB, 0}}));
  settle();
  ASSERT_EQ(store.reads.size(), 2u);
  store.finish_read();
  settle();
  EXPECT_EQ(session.pushes_seen, 1u);
  EXPECT_TRUE(answer(session, 7).is(StatusCode::not_found));
  store.finish_read();
  settle();
  EXPECT_EQ(session.pushes_seen, 2u);
  EXPECT_EQ(answer(session, 7), Status());
}

TEST_P(ReadOpTest, the_reply_leaves_behind_the_last_push_while_pages_are_held_until_it_is_done) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  session.auto_push = false;
  store.slice_bytes = 4096;
  store.chunks[{kInode, 0}] = pattern(kMiB, 1);
  session.deliver(msg::Type::read, 7, read_of({{0, 0, 0, 9 * 4096, 0}}));
  settle();
  EXPECT_EQ(session.pushes_seen, ReadStep::kPushesMax);
  EXPECT_TRUE(answer(session, 7).is(StatusCode::not_found));
  session.land(*session.pushes.front());
  settle();
  EXPECT_EQ(session.pushes_seen, 9u);
  EXPECT_EQ(answer(session, 7), Status());
  EXPECT_EQ(state->read_steps.in_use(), 1u);
  while (!session.pushes.empty()) session.land(*session.pushes.front());
  settle();
  EXPECT_EQ(state->read_steps.in_use(), 0u);
  EXPECT_EQ(state->read_ops.in_use(), 0u);
}

TEST_P(ReadOpTest, an_error_is_answered_once_after_what_was_in_flight) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  store.auto_read = false;
  session.auto_push = false;
  store.chunks[{kInode, 0}] = pattern(kMiB, 1);
  session.deliver(msg::Type::read, 7, read_of({{0, 0, 0, kMiB, 0}, {kMiB, 1, 0, kMiB, 0}}));
  settle();
  store.finish_read();
  settle();
  store.finish_read(Status(StatusCode::corrupt, "block 3"));
  settle();
  EXPECT_TRUE(answer(session, 7).is(StatusCode::not_found));
  session.land(*session.pushes.front());
  settle();
  EXPECT_TRUE(answer(session, 7).is(StatusCode::corrupt));
  EXPECT_EQ(state->read_ops.in_use(), 0u);
}

TEST_P(ReadOpTest, one_big_reader_is_bounded_and_a_small_read_passes_it) {
  FakeSession& loader = connect();
  FakeSession& other = connect();
  bind(loader, 1, capability());
  bind(other, 1, capability());
  store.auto_read = false;
  std::vector<msg::ReadPiece> pieces;
  for (uint32_t i = 0; i < 64; ++i) {
    pieces.emplace_back(uint64_t{i} * 4 * kMiB, i, 0, 4 * kMiB, 0);
  }
  loader.deliver(msg::Type::read, 7, read_of(std::move(pieces)));
  settle();
  EXPECT_EQ(store.bytes_reading, options.session_read_bytes_max);
  other.deliver(msg::Type::read, 9, read_of({{0, 0, 0, 4096, 0}}));
  settle();
  ASSERT_EQ(store.reads.size(), 3u);
  EXPECT_EQ(store.reads.back()->length_bytes, 4096u);
  while (!store.reads.empty()) {
    store.finish_read();
    settle();
  }
  EXPECT_EQ(answer(loader, 7), Status());
  EXPECT_EQ(answer(other, 9), Status());
  EXPECT_LE(store.bytes_reading_peak, options.session_read_bytes_max + 4096);
}

TEST_P(ReadOpTest, a_busy_slab_is_asked_again_and_gives_busy_only_when_patience_ends) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  store.auto_read = false;
  session.deliver(msg::Type::read, 7, read_of({{0, 0, 0, 4096, 0}}));
  settle();
  store.finish_read(Status(StatusCode::busy));
  settle();
  EXPECT_TRUE(store.reads.empty());
  pass(2 * kMs);
  ASSERT_EQ(store.reads.size(), 1u);
  store.finish_read();
  settle();
  EXPECT_EQ(answer(session, 7), Status());

  session.deliver(msg::Type::read, 8, read_of({{0, 0, 0, 4096, 0}}));
  settle();
  for (int i = 0; i < 2000 && !store.reads.empty(); ++i) {
    store.finish_read(Status(StatusCode::busy));
    settle();
    pass(kMs);
  }
  EXPECT_TRUE(answer(session, 8).is(StatusCode::busy));
}

TEST_P(ReadOpTest, a_canceled_read_drops_its_pushes_and_starts_nothing_more) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  session.auto_push = false;
  std::vector<msg::ReadPiece> pieces;
  for (uint32_t i = 0; i < 8; ++i) {
    store.chunks[{kInode, i}] = pattern(4 * kMiB, i);
    pieces.emplace_back(uint64_t{i} * 4 * kMiB, i, 0, 4 * kMiB, 0);
  }
  session.deliver(msg::Type::read, 7, read_of(std::move(pieces)));
  settle();
  const size_t started = store.reads_seen;
  EXPECT_EQ(started, 2u);
  msg::CancelT cancel;
  cancel.request_id = 7;
  session.deliver(msg::Type::cancel, 0, cancel);
  settle();
  EXPECT_EQ(session.dropped, std::vector<uint64_t>{7});
  EXPECT_TRUE(answer(session, 7).is(StatusCode::canceled));
  EXPECT_EQ(store.reads_seen, started);
  EXPECT_EQ(state->read_ops.in_use(), 0u);
  EXPECT_EQ(state->big_reads.bytes_in_flight(), 0u);
}

TEST_P(ReadOpTest, a_closed_session_ends_its_reads_wherever_they_are_and_then_the_connection) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  store.auto_read = false;
  session.auto_push = false;
  store.chunks[{kInode, 0}] = pattern(4 * kMiB, 1);
  session.deliver(msg::Type::read, 7, read_of({{0, 0, 0, 4096, 0}}));  // will be pushing
  settle();
  store.finish_read();
  settle();
  session.deliver(msg::Type::read, 8, read_of({{0, 0, 0, 4096, 0}}));  // reading
  for (uint32_t i = 0; i < 4; ++i) {                                   // the last ones waiting
    session.deliver(msg::Type::read, 9 + i, read_of({{0, i, 0, 4 * kMiB, 0}}));
  }
  settle();
  session.close(Status(StatusCode::unavailable, "gone"));
  settle();
  EXPECT_EQ(ended, 0u);  // the store still reads into pages for it
  while (!store.reads.empty()) {
    store.finish_read();
    settle();
  }
  EXPECT_EQ(ended, 1u);
  EXPECT_EQ(state->read_ops.in_use(), 0u);
  EXPECT_EQ(state->read_steps.in_use(), 0u);
  EXPECT_EQ(state->counters.requests, 0u);
}

}  // namespace
}  // namespace gd2fs::server
