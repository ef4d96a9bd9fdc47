// What one NIC may be asked for at once, whoever asks.
#include "client/nic_credit.h"

#include <list>

#include <gtest/gtest.h>

#include "client/peer.h"
#include "fabric/conformance_pair.h"
#include "fabric/reply.h"
#include "sim/sim_fabric.h"

namespace gd2fs::client {
namespace {

constexpr char kKey[] = "0123456789abcdef0123456789abcdef";

struct Asked : MessageExchange {
  bool finished = false;
  explicit Asked(uint64_t bytes, msg::Type kind = msg::Type::read) {
    set(kind, {});
    credit_bytes = bytes;
    memory.direction =
        kind == msg::Type::write ? Window::Direction::source : Window::Direction::sink;
    window = &memory;
    done.bind<&Asked::on_done>(this);
  }
  void on_done(Completion&) { finished = true; }
  Window memory;  // of no bytes: here nobody moves any
};

class NicCreditTest : public ::testing::Test {
 protected:
  NicCreditTest() {
    ListenOptions options;
    options.server_id = 1;
    options.keys = [](PeerRole, std::string_view) { return std::vector<std::string>{kKey}; };
    listener = std::move(*server_fabric.listen("tcp://server:7528", std::move(options),
                                               [this](std::unique_ptr<Session> session) {
                                                 Side& side = accepted.emplace_back();
                                                 side.session = std::move(session);
                                                 side.session->set_events(&side);
                                               }));
    for (int i = 0; i < 3; ++i) {
      LinkOptions link;
      link.name = "server";
      link.addresses = {"tcp://server:7528"};
      link.cluster = "kv";
      link.key = kKey;
      link.credit = &credit;
      peers.push_back(std::make_unique<Peer>(loop, fabric, Random(7),
                                             std::vector<LinkOptions>(1, link), 100, nullptr));
    }
  }
  // Requests that servers have and have not answered.
  size_t unanswered() {
    size_t count = 0;
    for (const Side& side : accepted) count += side.messages.size();
    return count;
  }
  void answer_one() {
    for (Side& side : accepted) {
      if (side.messages.empty()) continue;
      const Received message = side.messages.front();
      side.messages.erase(side.messages.begin());
      ASSERT_TRUE(side.session->reply(message.type, message.request_id, {}).ok());
      return;
    }
  }

  SimWorld world{7};
  SimNetwork network{world};
  Loop server_loop{world.clock(), Loop::Waits::never};
  SimWorld::Member server_member{world, server_loop};
  Loop loop{world.clock(), Loop::Waits::never};
  SimWorld::Member member{world, loop};
  SimFabric server_fabric{network, "server", server_loop};
  SimFabric fabric{network, "client0", loop};
  std::list<Side> accepted;
  std::unique_ptr<Listener> listener;
  NicCredit credit;
  std::vector<std::unique_ptr<Peer>> peers;
};

TEST_F(NicCreditTest, many_servers_are_asked_for_no_more_than_one_nic_takes) {
  std::list<Asked> asked;
  for (int round = 0; round < 4; ++round) {
    for (auto& peer : peers) peer->start(asked.emplace_back(30 << 20));
  }
  size_t answered = 0;
  while (answered < asked.size()) {
    world.run_for_ns(50 * kMs);
    ASSERT_EQ(unanswered(), std::min<size_t>(2, asked.size() - answered)) << answered;
    EXPECT_EQ(credit.used_bytes(), unanswered() * (30 << 20));
    ASSERT_NO_FATAL_FAILURE(answer_one());
    ++answered;
  }
  world.run_for_ns(50 * kMs);
  for (const Asked& one : asked) EXPECT_TRUE(one.finished && one.outcome.ok());
  EXPECT_EQ(credit.used_bytes(), 0u);
}

TEST_F(NicCreditTest, what_is_small_does_not_wait_and_what_is_huge_goes_alone) {
  Asked huge(uint64_t{500} << 20);
  Asked other(1 << 20);
  Asked tiny(4096);
  peers[0]->start(huge);
  world.run_for_ns(50 * kMs);
  peers[1]->start(other);
  peers[2]->start(tiny);
  world.run_for_ns(50 * kMs);
  EXPECT_EQ(unanswered(), 2u);  // huge and tiny
  peers[0]->cancel(huge);       // its credit goes to who waits
  world.run_for_ns(50 * kMs);
  EXPECT_TRUE(huge.finished);
  EXPECT_GE(credit.used_bytes(), other.credit_bytes);
  for (int i = 0; i < 5; ++i) {
    answer_one();
    world.run_for_ns(50 * kMs);
  }
  EXPECT_TRUE(other.finished && tiny.finished);
}

TEST_F(NicCreditTest, writes_need_none_of_it_and_have_a_bound_of_their_own) {
  constexpr uint64_t kBytes = 40 << 20;
  Asked read(kBytes);
  Asked next_read(kBytes);
  std::list<Asked> writes;
  peers[0]->start(read);
  for (int i = 0; i < 4; ++i) peers[0]->start(writes.emplace_back(kBytes, msg::Type::write));
  peers[0]->start(next_read);
  world.run_for_ns(50 * kMs);
  static_assert(3 * kBytes <= Peer::kWriteCreditBytes && 4 * kBytes > Peer::kWriteCreditBytes);
  EXPECT_EQ(unanswered(), 4u);  // three of the writes, and the first read
  EXPECT_EQ(credit.used_bytes(), kBytes);
  answer_one();  // the first read: the second takes its credit, past the write that waits
  world.run_for_ns(50 * kMs);
  EXPECT_TRUE(read.finished && !next_read.finished);
  EXPECT_EQ(unanswered(), 4u);
  EXPECT_EQ(credit.used_bytes(), kBytes);
  answer_one();  // a write: the last may go
  world.run_for_ns(50 * kMs);
  EXPECT_TRUE(writes.front().finished);
  EXPECT_EQ(unanswered(), 4u);
  while (unanswered() > 0) {
    answer_one();
    world.run_for_ns(50 * kMs);
  }
  for (const Asked& write : writes) EXPECT_TRUE(write.finished && write.outcome.ok());
  EXPECT_TRUE(next_read.finished && next_read.outcome.ok());
  EXPECT_EQ(credit.used_bytes(), 0u);
}

TEST_F(NicCreditTest, requests_that_come_one_by_one_take_the_rails_in_turn) {
  LinkOptions link;
  link.name = "server";
  link.addresses = {"tcp://server:7528"};
  link.cluster = "kv";
  link.key = kKey;
  Peer both(loop, fabric, Random(7), std::vector<LinkOptions>(2, link), 100, nullptr);
  Asked first(1 << 20);
  both.start(first);  // both links connect for it
  world.run_for_ns(50 * kMs);
  ASSERT_EQ(accepted.size(), 2u);
  answer_one();
  size_t by_the_first = 0;
  std::list<Asked> asked;
  for (int round = 0; round < 6; ++round) {
    both.start(asked.emplace_back(1 << 20));
    world.run_for_ns(50 * kMs);
    ASSERT_EQ(unanswered(), 1u);
    by_the_first += accepted.front().messages.size();
    answer_one();
    world.run_for_ns(50 * kMs);
  }
  EXPECT_EQ(by_the_first, 3u);
}

TEST_F(NicCreditTest, a_peer_that_goes_leaves_its_credit_to_the_others) {
  Asked first(60 << 20);
  Asked second(60 << 20);
  peers[0]->start(first);
  world.run_for_ns(50 * kMs);
  peers[1]->start(second);
  world.run_for_ns(50 * kMs);
  EXPECT_EQ(unanswered(), 1u);
  peers[0].reset();
  world.run_for_ns(50 * kMs);
  EXPECT_EQ(credit.used_bytes(), second.credit_bytes);
}

}  // namespace
}  // namespace gd2fs::client
