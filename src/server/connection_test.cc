#include "server/connection.h"

#include "server/connection_fixture.h"

namespace gd2fs::server {
namespace {

struct ConnectionTest : ConnectionFixture {
  uint64_t next_id = 100;
  Status ask(FakeSession& session, const msg::ReadT& read) {
    const uint64_t id = next_id++;
    session.deliver(msg::Type::read, id, read);
    settle();
    return answer(session, id);
  }
  Status ask(FakeSession& session, const msg::WriteT& write) {
    const uint64_t id = next_id++;
    session.windows[id] = pattern(4096, id);
    session.deliver(msg::Type::write, id, write);
    settle();
    return answer(session, id);
  }
  static msg::ReadT small_read() { return read_of({{0, 0, 0, 4096, 0}}); }
  msg::WriteT small_write() { return write_of({{0, next_id, 0, 0, 4096, 0}}); }
};

TEST_F(ConnectionTest, without_a_lease_data_requests_are_unavailable) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  EXPECT_EQ(ask(session, small_read()), Status());
  pass(5 * kSecond);
  EXPECT_TRUE(ask(session, small_read()).is(StatusCode::unavailable));
  EXPECT_TRUE(ask(session, small_write()).is(StatusCode::unavailable));
  grant();
  EXPECT_EQ(ask(session, small_write()), Status());
}

TEST_F(ConnectionTest, an_unknown_handle_is_stale_and_a_refused_one_keeps_its_reason) {
  FakeSession& session = connect();
  EXPECT_TRUE(ask(session, small_read()).is(StatusCode::stale));
  // Of a write nobody knows whether an earlier copy was executed: the errno takes the promise back.
  const Status unsure = ask(session, small_write());
  EXPECT_TRUE(unsure.is(StatusCode::stale));
  EXPECT_EQ(unsure.errno_value(), EBADF);
  Capability other = capability();
  other.cluster_id = kCluster + 1;
  bind(session, 1, other);
  EXPECT_TRUE(ask(session, small_read()).is(StatusCode::denied));
  other = capability((uint64_t{kCluster + 1} << 48) | 5);
  bind(session, 1, other);
  EXPECT_TRUE(ask(session, small_read()).is(StatusCode::denied));
  bind(session, 1, capability());
  EXPECT_EQ(ask(session, small_read()), Status());
}

TEST_F(ConnectionTest, rights_are_kept_apart) {
  FakeSession& session = connect();
  Capability bound = capability();
  bound.may_write = false;
  bind(session, 1, bound);
  EXPECT_EQ(ask(session, small_read()), Status());
  EXPECT_TRUE(ask(session, small_write()).is(StatusCode::denied));
  bound.may_write = true;
  bound.may_read = false;
  bind(session, 1, bound);
  EXPECT_EQ(ask(session, small_write()), Status());
  EXPECT_TRUE(ask(session, small_read()).is(StatusCode::denied));
}

TEST_F(ConnectionTest, an_expired_capability_is_stale_at_bind_and_at_use) {
  FakeSession& session = connect();
  Capability bound = capability();
  bound.expiry_us = clock.wall_us() + 1'000'000;
  bind(session, 1, bound);
  EXPECT_EQ(ask(session, small_read()), Status());
  pass(kSecond);
  EXPECT_TRUE(ask(session, small_read()).is(StatusCode::stale));
  bind(session, 1, bound);
  EXPECT_TRUE(ask(session, small_read()).is(StatusCode::stale));
}

TEST_F(ConnectionTest, old_generations_and_epochs_are_stale) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  msg::ReadT read = small_read();
  read.generation = 2;  // not the capability's
  EXPECT_TRUE(ask(session, read).is(StatusCode::stale));
  read = small_read();
  read.namespace_epoch = kNamespaceEpoch - 1;
  EXPECT_TRUE(ask(session, read).is(StatusCode::stale));
  read.namespace_epoch = kNamespaceEpoch + 1;  // the fence is still on its way here
  EXPECT_EQ(ask(session, read), Status());
  read = small_read();
  read.epoch = kGroupEpoch - 1;
  EXPECT_TRUE(ask(session, read).is(StatusCode::stale));
  read.epoch = kGroupEpoch + 1;
  EXPECT_TRUE(ask(session, read).is(StatusCode::unavailable));
  read = small_read();
  read.group = 1;
  EXPECT_TRUE(ask(session, read).is(StatusCode::stale));

  state->authority.raise_namespace(kCluster, kNamespaceEpoch + 1);
  EXPECT_TRUE(ask(session, small_read()).is(StatusCode::stale));
  store.fences[kInode].generation = 2;
  read = small_read();
  read.namespace_epoch = kNamespaceEpoch + 1;
  EXPECT_TRUE(ask(session, read).is(StatusCode::stale));
  msg::WriteT write = small_write();
  write.namespace_epoch = kNamespaceEpoch + 1;
  EXPECT_TRUE(ask(session, write).is(StatusCode::stale));
}

TEST_F(ConnectionTest, pieces_outside_of_their_chunk_are_invalid) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  EXPECT_EQ(ask(session, read_of({{0, 0, 4 * kMiB - 1, 1, 0}})), Status());
  EXPECT_TRUE(ask(session, read_of({{0, 0, 4 * kMiB - 1, 2, 0}})).is(StatusCode::invalid));
  EXPECT_TRUE(ask(session, read_of({{0, 0, UINT32_MAX, UINT32_MAX, 0}})).is(StatusCode::invalid));
  EXPECT_TRUE(ask(session, read_of({{UINT64_MAX - 1, 0, 0, 8, 0}})).is(StatusCode::invalid));
  EXPECT_EQ(ask(session, read_of({})), Status());
  EXPECT_EQ(ask(session, read_of({{0, 0, 0, 0, 0}})), Status());
  std::vector<msg::ReadPiece> many(kPiecesMax + 1, msg::ReadPiece(0, 0, 0, 1, 0));
  EXPECT_TRUE(ask(session, read_of(std::move(many))).is(StatusCode::invalid));
  EXPECT_TRUE(ask(session, write_of({{0, 1, 0, 0, 0, 0}})).is(StatusCode::invalid));
}

TEST_F(ConnectionTest, one_session_cannot_take_every_request_slot) {
  FakeSession& greedy = connect();
  FakeSession& modest = connect();
  bind(greedy, 1, capability());
  bind(modest, 1, capability());
  store.auto_read = false;
  for (uint64_t id = 1; id <= options.read_ops_max; ++id) {
    greedy.deliver(msg::Type::read, id, small_read());
  }
  settle();
  EXPECT_LT(greedy.requests_unanswered(options.read_ops_max), size_t{options.read_ops_max});
  EXPECT_TRUE(answer(greedy, options.read_ops_max).is(StatusCode::busy));
  modest.deliver(msg::Type::read, 1, small_read());
  for (int i = 0; i < 200; ++i) {
    if (!store.reads.empty()) store.finish_read();
    settle();
  }
  EXPECT_EQ(answer(modest, 1), Status());
  EXPECT_GT(state->counters.busy_total, 0u);
}

TEST_F(ConnectionTest, flush_reaches_the_store_and_unknown_operations_are_unsupported) {
  FakeSession& session = connect();
  session.deliver(msg::Type::flush, 5, msg::FlushT{});
  settle();
  EXPECT_EQ(answer(session, 5), Status());
  EXPECT_EQ(store.flushes_seen, 1u);
  session.deliver(msg::Type::lookup, 6, msg::LookupT{});
  settle();
  EXPECT_TRUE(answer(session, 6).is(StatusCode::unsupported));
  session.deliver_bytes(static_cast<msg::Type>(999), 7, {});
  settle();
  EXPECT_TRUE(answer(session, 7).is(StatusCode::unsupported));
  EXPECT_TRUE(session.open());
}

TEST_F(ConnectionTest, a_body_that_is_none_closes_the_session) {
  for (const auto type : {msg::Type::read, msg::Type::write, msg::Type::bind_handle,
                          msg::Type::cancel, msg::Type::flush}) {
    FakeSession& session = connect();
    session.deliver_bytes(type, 5, std::vector<std::byte>(64, std::byte{0xFF}));
    EXPECT_FALSE(session.open());
    settle();
  }
  EXPECT_EQ(ended, 5u);
  EXPECT_EQ(state->counters.malformed_total, 5u);
  EXPECT_EQ(state->counters.sessions, 0u);
}

TEST_F(ConnectionTest, a_client_that_does_not_read_its_replies_is_closed) {
  FakeSession& session = connect();
  bind(session, 1, capability());
  session.reply_status = Status(StatusCode::busy, "send queue full");
  session.deliver(msg::Type::read, 5, small_read());
  settle();
  EXPECT_EQ(ended, 1u);
}

TEST_F(ConnectionTest, a_session_whose_first_transfer_has_just_begun_is_not_taken_for_a_stuck_one) {
  pass(2 * options.stall_ns);  // the machine has been up for longer than that
  grant();
  FakeSession& fresh = connect();
  bind(fresh, 1, capability());
  fresh.auto_push = false;
  store.chunks[{kInode, 0}] = pattern(4096, 1);
  fresh.deliver(msg::Type::read, 5, small_read());
  settle();
  ASSERT_FALSE(fresh.pushes.empty());
  connections.front()->check_stall();
  EXPECT_TRUE(fresh.open());
  pass(options.stall_ns);
  connections.front()->check_stall();
  EXPECT_FALSE(fresh.open());
  settle();
}

TEST_F(ConnectionTest, a_session_that_holds_pages_and_moves_nothing_is_closed) {
  FakeSession& stuck = connect();
  FakeSession& idle = connect();
  bind(stuck, 1, capability());
  stuck.auto_push = false;
  store.chunks[{kInode, 0}] = pattern(4096, 1);
  stuck.deliver(msg::Type::read, 5, small_read());
  settle();
  for (uint64_t s = 0; s < options.stall_ns / kSecond - 1; ++s) {
    for (auto& connection : connections) connection->check_stall();
    pass(kSecond);
  }
  EXPECT_TRUE(stuck.open());
  stuck.pushes.front()->cut_bytes += 1;  // a little progress
  for (auto& connection : connections) connection->check_stall();
  pass(options.stall_ns - kSecond);
  for (auto& connection : connections) connection->check_stall();
  EXPECT_TRUE(stuck.open());
  pass(kSecond);
  for (auto& connection : connections) connection->check_stall();
  EXPECT_FALSE(stuck.open());
  EXPECT_TRUE(idle.open());
  settle();
  EXPECT_EQ(ended, 1u);
  EXPECT_EQ(state->read_steps.in_use(), 0u);
}

TEST_F(ConnectionTest, the_longest_unused_handle_is_forgotten_over_the_limit) {
  HandleTable table(2);
  Handle handle;
  handle.inode = 1;
  table.bind(1, handle);
  handle.inode = 2;
  table.bind(2, handle);
  EXPECT_EQ(table.find(1)->inode, 1u);
  handle.inode = 3;
  table.bind(3, handle);
  EXPECT_EQ(table.size(), 2u);
  EXPECT_TRUE(table.find(2).error().is(StatusCode::stale));
  EXPECT_EQ(table.find(1)->inode, 1u);
  table.refuse(1, Status(StatusCode::denied));
  EXPECT_TRUE(table.find(1).error().is(StatusCode::denied));
}

}  // namespace
}  // namespace gd2fs::server
