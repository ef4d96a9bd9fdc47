// Which of a peer's links carries GPU memory: the nearest that reaches it.
#include <list>

#include <gtest/gtest.h>

#include "client/peer.h"
#include "fabric/conformance_pair.h"
#include "fabric/reply.h"
#include "sim/sim_fabric.h"

namespace gd2fs::client {
namespace {

constexpr uint32_t kOutOfReach = Exchange::kOutOfReach;
constexpr char kKey[] = "0123456789abcdef0123456789abcdef";
constexpr uint64_t kBytes = 1 << 20;

// Knows how far each link is from its memory, and notes the one it went over.
struct Asked : Exchange {
  std::vector<uint32_t> distances;
  int over = -1;
  bool finished = false;
  bool must = false;
  Asked(std::vector<uint32_t> of_links, uint64_t bytes) : distances(std::move(of_links)) {
    type = msg::Type::read;
    credit_bytes = bytes;
    done.bind<&Asked::on_done>(this);
  }
  uint32_t distance(const Link& link) const override { return distances[link.options().rail]; }
  bool must_reach(const Link&) const override { return must; }
  Result<ConstBytes> compose(Link& link, flatbuffers::FlatBufferBuilder&) override {
    over = static_cast<int>(link.options().rail);
    return ConstBytes();
  }
  void on_done(Completion&) { finished = true; }
};

class NearLinkTest : public ::testing::Test {
 protected:
  explicit NearLinkTest(const char* near = "tcp://server:7528") {
    listener = listen(server_fabric, "tcp://server:7528", kKey);
    std::vector<LinkOptions> links;
    for (uint32_t rail = 0; rail < 3; ++rail) {
      LinkOptions& link = links.emplace_back();
      link.name = "server";
      link.addresses = {rail == 1 ? near : "tcp://server:7528"};
      link.rail = rail;
      link.cluster = "kv";
      link.key = kKey;
      link.credit = &credits[rail];
    }
    peer = std::make_unique<Peer>(loop, fabric, Random(7), std::move(links), 100, nullptr);
    // All links that can be are open from here on.
    Asked first({0, 0, 0}, kBytes);
    peer->start(first);
    world.run_for_ns(kSecond);
    answer_all();
    EXPECT_EQ(accepted.size(), near == listener->address() ? 3u : 2u);
  }
  std::unique_ptr<Listener> listen(SimFabric& on, const std::string& address, const char* key) {
    ListenOptions options;
    options.server_id = 1;
    options.keys = [key](PeerRole, std::string_view) { return std::vector<std::string>{key}; };
    return std::move(
        *on.listen(address, std::move(options), [this](std::unique_ptr<Session> session) {
          Side& side = accepted.emplace_back();
          side.session = std::move(session);
          side.session->set_events(&side);
        }));
  }
  void answer_all() {
    for (Side& side : accepted) {
      if (!side.session->open()) continue;
      for (const Received& message : side.messages) {
        ASSERT_TRUE(side.session->reply(message.type, message.request_id, {}).ok());
      }
      side.messages.clear();
    }
    world.run_for_ns(50 * kMs);
  }
  // How many of so many at once went over each link.
  std::vector<size_t> spread(size_t count, const std::vector<uint32_t>& distances,
                             uint64_t bytes = kBytes) {
    std::vector<size_t> over(3);
    std::list<Asked> all;
    for (size_t i = 0; i < count; ++i) peer->start(all.emplace_back(distances, bytes));
    world.run_for_ns(50 * kMs);
    for (const Asked& one : all) {
      if (one.over >= 0) ++over[static_cast<size_t>(one.over)];
    }
    answer_all();
    answer_all();
    for (const Asked& one : all) EXPECT_TRUE(one.finished);
    return over;
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
  NicCredit credits[3];
  std::unique_ptr<Peer> peer;
};

TEST_F(NearLinkTest, what_is_as_near_to_all_is_shared_by_all) {
  EXPECT_EQ(spread(9, {0, 0, 0}), (std::vector<size_t>{3, 3, 3}));
}

TEST_F(NearLinkTest, gpu_memory_goes_over_the_nearest_links_alone) {
  EXPECT_EQ(spread(8, {2, 0, 1}), (std::vector<size_t>{0, 8, 0}));
  EXPECT_EQ(spread(8, {1, 2, 1}), (std::vector<size_t>{4, 0, 4}));
}

TEST_F(NearLinkTest, a_link_out_of_reach_is_not_used_while_another_only_has_to_have_room_again) {
  const auto over = spread(Link::kSentMax + 5, {kOutOfReach, 0, kOutOfReach}, 4096);
  EXPECT_EQ(over, (std::vector<size_t>{0, Link::kSentMax, 0}));
}

TEST_F(NearLinkTest, out_of_every_links_reach_it_is_sent_all_the_same_and_the_answer_tells) {
  const auto over = spread(3, {kOutOfReach, kOutOfReach, kOutOfReach});
  EXPECT_EQ(over[0] + over[1] + over[2], 3u);
}

// Who hears that its connection was lost may give up others that were under way on it.
TEST_F(NearLinkTest, a_lost_connections_exchanges_may_cancel_each_other_while_they_are_told) {
  struct Pair : Asked {
    Pair* other = nullptr;
    std::byte buffer[4096];
    Window memory;
    explicit Pair(uint64_t bytes) : Asked({0, kOutOfReach, kOutOfReach}, bytes) {
      elsewhere = true;
      memory.segments.emplace_back(buffer, sizeof buffer);
      window = &memory;
      done.bind<&Pair::on_lost>(this);
    }
    void on_lost(Completion&) {
      finished = true;
      other->cancel();
    }
  };
  Pair first(kBytes);
  Pair second(kBytes);
  first.other = &second;
  second.other = &first;
  peer->start(first);
  peer->start(second);
  world.run_for_ns(50 * kMs);
  EXPECT_EQ(first.over + second.over, 0);
  for (Side& side : accepted) side.session->close(Status(StatusCode::unavailable, "power is gone"));
  world.run_for_ns(kSecond);
  EXPECT_TRUE(first.finished && second.finished);
  EXPECT_FALSE(first.outcome.ok() || second.outcome.ok());
}

// The link of rail 1 goes to a node of its own, where nobody listens yet.
class LateLinkTest : public NearLinkTest {
 protected:
  static constexpr char kNear[] = "tcp://near:7528";
  LateLinkTest() : NearLinkTest(kNear) {
    asked.must = true;
    peer->start(asked);
    world.run_for_ns(50 * kMs);
    EXPECT_EQ(asked.over, -1);
  }
  ~LateLinkTest() override { peer.reset(); }
  void comes_up_and_serves(const Asked& waiting) {
    near = listen(near_fabric, kNear, kKey);
    world.run_for_ns(3 * kSecond);
    EXPECT_EQ(waiting.over, 1);
    answer_all();
    EXPECT_TRUE(waiting.finished);
  }
  SimFabric near_fabric{network, "near", server_loop};
  std::unique_ptr<Listener> near;
  Asked asked{{kOutOfReach, 0, kOutOfReach}, kBytes};
};

TEST_F(LateLinkTest, what_must_reach_waits_for_a_link_that_opens_later_and_holds_up_nobody) {
  EXPECT_EQ(spread(4, {0, 0, 0}), (std::vector<size_t>{2, 0, 2}));
  EXPECT_EQ(asked.over, -1);
  comes_up_and_serves(asked);
}

TEST_F(LateLinkTest, what_must_reach_waits_for_its_link_to_be_back) {
  near = listen(near_fabric, kNear, kKey);
  world.run_for_ns(3 * kSecond);
  ASSERT_EQ(accepted.size(), 3u);
  answer_all();
  ASSERT_TRUE(asked.finished);
  Asked again({kOutOfReach, 0, kOutOfReach}, kBytes);
  again.must = true;
  near.reset();
  accepted.back().session->close(Status(StatusCode::unavailable, "a cable was pulled"));
  world.run_for_ns(50 * kMs);
  peer->start(again);
  world.run_for_ns(3 * kSecond);
  EXPECT_EQ(again.over, -1);
  comes_up_and_serves(again);
}

TEST_F(LateLinkTest, a_refusal_for_good_ends_the_wait_and_the_far_links_answer_tells) {
  near = listen(near_fabric, kNear, "another key, as long as the right one");
  world.run_for_ns(3 * kSecond);
  EXPECT_TRUE(asked.over == 0 || asked.over == 2) << asked.over;
  answer_all();
  EXPECT_TRUE(asked.finished);
}

TEST_F(LateLinkTest, who_gives_up_waiting_is_told_why_nothing_went) {
  const Status trouble = peer->trouble(asked);
  EXPECT_NE(trouble.text().find("reaches this GPU memory"), std::string_view::npos);
  EXPECT_NE(trouble.text().find(kNear), std::string_view::npos) << trouble.text();
  asked.cancel();
  world.run_for_ns(kMs);
  EXPECT_TRUE(asked.finished);
  EXPECT_TRUE(asked.outcome.is(StatusCode::canceled));
}

}  // namespace
}  // namespace gd2fs::client
