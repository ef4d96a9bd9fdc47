// What the simulated network does to sessions, and a mixed load that must survive it.
#include "sim/sim_fabric.h"

#include <list>
#include <optional>

#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "fabric/conformance_pair.h"
#include "fabric/conformance_pairs.h"
#include "fabric/reply.h"

namespace gd2fs {
namespace {

constexpr uint16_t kRead = static_cast<uint16_t>(msg::Type::read);
constexpr uint16_t kWrite = static_cast<uint16_t>(msg::Type::write);

struct Order {  // the body of both requests
  uint64_t seed;
  uint64_t length_bytes;
};

std::vector<std::byte> bytes_of(const Order& order) {
  Random random(order.seed);
  return random_bytes(random, order.length_bytes);
}

// A process that answers reads with the bytes that the order names, and checks those of writes.
class Serving {
 public:
  Serving(SimWorld& world, SimNetwork& network, uint64_t incarnation)
      : loop_(world.clock(), Loop::Waits::never),
        world_(world),
        fabric_(network, "server0", loop_) {
    run();
    ListenOptions options;
    options.incarnation = incarnation;
    options.keys = [](PeerRole, std::string_view) { return std::vector<std::string>{"key"}; };
    auto result = fabric_.listen("tcp://server0", std::move(options),
                                 [this](std::unique_ptr<Session> session) {
                                   Accepted& end = sessions_.emplace_back(*this);
                                   session->set_events(&end);
                                   end.session = std::move(session);
                                 });
    EXPECT_TRUE(result.has_value());
    listener_ = std::move(*result);
  }
  void stop() { member_.reset(); }
  void run() { member_.emplace(world_, loop_); }
  bool stopped() const { return !member_.has_value(); }

 private:
  struct Accepted;
  struct Op {
    Accepted* at;
    uint64_t request_id;
    Order order;
    std::vector<std::byte> memory;
    Push push;
    Pull pull;
    Op(Accepted* session, uint64_t id, const Order& what)
        : at(session), request_id(id), order(what) {
      push.done.bind<&Op::on_pushed>(this);
      pull.done.bind<&Op::on_pulled>(this);
    }
    void on_pushed(Completion&) { at->forget(*this); }
    void on_pulled(Completion& done) {
      if (done.status.ok()) {
        const Order mine = order;
        EXPECT_TRUE(memory == bytes_of(mine));
        reply_body(*at->session, msg::Type::write, request_id, {});
      }
      at->forget(*this);
    }
  };
  struct Accepted final : SessionEvents {
    explicit Accepted(Serving& owner) : serving(owner) {}
    Serving& serving;
    std::unique_ptr<Session> session;
    std::list<Op> ops;
    void forget(Op& op) {
      ops.remove_if([&](const Op& other) { return &other == &op; });
    }
    void on_message(Session&, const Message& message) override {
      if (message.type == static_cast<uint16_t>(msg::Type::cancel)) {
        session->drop_request(load_le<uint64_t>(message.body.data()));
        return;
      }
      const auto order = load_le<Order>(message.body.data());
      Op& op = ops.emplace_back(this, message.request_id, order);
      if (message.type == kRead) {
        op.memory = bytes_of(order);
        op.push.request_id = message.request_id;
        op.push.bytes = op.memory;
        op.push.crc = crc32c(op.memory);
        session->push(op.push);
        reply_body(*session, msg::Type::read, message.request_id, {});
      } else {
        op.memory.resize(order.length_bytes);
        op.pull.request_id = message.request_id;
        op.pull.into = op.memory;
        session->pull(op.pull);
      }
    }
    void on_reply(Session&, const Message&) override { FAIL(); }
    void on_closed(Session&, const Status&) override {
      EXPECT_TRUE(ops.empty());
      serving.sessions_.remove_if([this](const Accepted& other) { return &other == this; });
    }
  };

  Loop loop_;
  SimWorld& world_;
  std::optional<SimWorld::Member> member_;
  SimFabric fabric_;
  std::list<Accepted> sessions_;
  std::unique_ptr<Listener> listener_;
};

// A client that keeps asking. A request that takes too long is withdrawn; its memory is then
// filled and watched to the end.
class Asking final : public SessionEvents {
 public:
  Asking(SimWorld& world, SimNetwork& network)
      : loop_(world.clock(), Loop::Waits::never),
        member_(world, loop_),
        random_(world.random().fork()),
        fabric_(network, "client0", loop_) {
    next_.bind<&Asking::on_next>(this);
    deadline_.bind<&Asking::on_deadline>(this);
    withdrawn_.bind<&Asking::on_withdrawn>(this);
    loop_.start(next_, 0);
  }
  int succeeded = 0;
  int given_up = 0;

  bool canaries_intact() const {
    for (const auto& [memory, fill] : canaries_) {
      if (!std::ranges::all_of(memory, [f = fill](std::byte b) { return b == f; })) return false;
    }
    return true;
  }

 private:
  static Task<void> connect(Asking* self) {
    ConnectOptions options;
    options.address = "tcp://server0:7527";
    options.key = "key";
    options.lanes = 1 + static_cast<uint32_t>(self->random_.below(4));
    options.timeout_ns = kSecond;
    options.events = self;
    auto result = co_await self->fabric_.connect(std::move(options));
    if (result.has_value()) self->session_ = std::move(*result);
    self->loop_.start(self->next_, result.has_value() ? 0 : 50 * kMs);
  }
  void on_next(Completion&) {
    if (session_ == nullptr) {
      loop_.spawn(connect(this));
      return;
    }
    order_ = {random_.next(), 1 + random_.below(random_.chance(1, 10) ? 1'200'000 : 20'000)};
    reading_ = random_.chance(1, 2);
    memory_ = reading_ ? std::vector<std::byte>(order_.length_bytes) : bytes_of(order_);
    window_.direction = reading_ ? Window::Direction::sink : Window::Direction::source;
    window_.segments = {{memory_.data(), memory_.size()}};
    window_.request_id = session_->next_request_id();
    session_->expose(window_);
    answered_ = false;
    ending_ = false;
    const Status sent = session_->send(reading_ ? kRead : kWrite, window_.request_id,
                                       as_bytes(&order_, sizeof order_), &window_);
    if (!sent.ok()) return end();
    loop_.start(deadline_, random_.chance(1, 4) ? random_.below(kMs) : 20 * kSecond);
  }
  void on_deadline(Completion&) { end(); }
  void end() {
    if (std::exchange(ending_, true)) return;
    loop_.cancel(deadline_);
    if (!answered_) {
      const uint64_t id = window_.request_id;
      [[maybe_unused]] const Status told = session_->send(static_cast<uint16_t>(msg::Type::cancel),
                                                          0, as_bytes(&id, sizeof id), nullptr);
    }
    session_->withdraw(window_, withdrawn_);
  }
  void on_withdrawn(Completion&) {
    if (answered_) {
      ++succeeded;
    } else {
      ++given_up;
    }
    const auto fill = static_cast<std::byte>(random_.next());
    std::ranges::fill(memory_, fill);
    canaries_.emplace_back(std::move(memory_), fill);
    if (canaries_.size() > 20) {
      EXPECT_TRUE(expect_late_ || canaries_intact());
      canaries_.pop_front();
    }
    if (!session_->open()) session_.reset();
    loop_.start(next_, random_.below(50 * kMs));
  }
  void on_message(Session&, const Message&) override { FAIL(); }
  void on_reply(Session&, const Message& reply) override {
    if (reply.request_id != window_.request_id || ending_) return;
    answered_ = true;
    EXPECT_TRUE(!reading_ || memory_ == bytes_of(order_));
    end();
  }
  void on_closed(Session&, const Status&) override {
    if (next_.running()) {
      session_.reset();
    } else if (!ending_) {
      end();
    }
  }

  Loop loop_;
  SimWorld::Member member_;
  Random random_;
  SimFabric fabric_;
  std::unique_ptr<Session> session_;
  Timer next_;
  Timer deadline_;
  Completion withdrawn_;
  Window window_;
  Order order_{};
  std::vector<std::byte> memory_;
  bool reading_ = false;
  bool answered_ = false;
  bool ending_ = false;
  std::list<std::pair<std::vector<std::byte>, std::byte>> canaries_;

 public:
  bool expect_late_ = false;
};

struct Storm {
  explicit Storm(uint64_t seed) : world(seed), network(world), chaos(world.random().fork()) {
    network.faults.slow_per_million = 20'000;
    network.faults.reset_per_million = 5'000;
    network.faults.refuse_per_million = 100'000;
    network.faults.ghost_per_million = 200'000;
  }
  // One misfortune, or its end.
  void strike() {
    switch (chaos.below(6)) {
      case 0:
        network.partition("client0", "server0");
        break;
      case 1:
        network.partition("server0", "client0");
        break;
      case 2:
        network.heal_all();
        break;
      case 3:
        network.reset_all_sessions();
        break;
      case 4:
        if (server->stopped()) {
          server->run();
        } else {
          server->stop();
        }
        break;
      default:
        network.kill("server0");
        server = std::make_unique<Serving>(world, network, ++incarnation);
        break;
    }
  }
  SimWorld world;
  SimNetwork network;
  Random chaos;
  uint64_t incarnation = 1;
  std::unique_ptr<Serving> server = std::make_unique<Serving>(world, network, incarnation);
  Asking client{world, network};
};

class SimFabricSeeds : public testing::TestWithParam<int> {};

TEST_P(SimFabricSeeds, a_mixed_load_gets_right_bytes_no_late_ones_and_recovers_when_all_is_well) {
  for (int i = 0; i < 5; ++i) {
    const uint64_t seed = static_cast<uint64_t>(GetParam()) * 5 + static_cast<uint64_t>(i);
    SCOPED_TRACE("seed " + std::to_string(seed));
    Storm storm(seed);
    for (int strikes = 0; strikes < 12; ++strikes) {
      storm.world.run_for_ns(storm.chaos.below(strikes % 3 == 0 ? 8 * kSecond : 300 * kMs));
      storm.strike();
    }
    if (storm.server->stopped()) storm.server->run();
    storm.network.heal_all();
    storm.network.faults = SimNetworkFaults();
    const int before = storm.client.succeeded;
    EXPECT_TRUE(
        storm.world.run_until([&] { return storm.client.succeeded > before + 10; }, 120 * kSecond));
    EXPECT_TRUE(storm.client.canaries_intact());
    if (HasFailure()) return;
  }
}
INSTANTIATE_TEST_SUITE_P(Sim, SimFabricSeeds, testing::Range(0, 20));

TEST(SimFabric, the_mutation_that_writes_late_bytes_is_seen_by_a_canary) {
  int seen = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Storm storm(seed);
    storm.client.expect_late_ = true;
    storm.network.faults = SimNetworkFaults();
    storm.network.faults.write_late_bytes = true;
    for (int i = 0; i < 50 && storm.client.canaries_intact(); ++i) storm.world.run_for_ns(20 * kMs);
    if (!storm.client.canaries_intact()) ++seen;
  }
  EXPECT_GT(seen, 0);
}

class SimFabricPair : public testing::Test {
 protected:
  SimPair pair{11};
  Side client;
  Side server;
  std::unique_ptr<Listener> listener;

  void SetUp() override {
    ListenOptions options;
    options.insecure = true;
    auto result = pair.server().listen("sim://server0", std::move(options),
                                       [this](std::unique_ptr<Session> session) {
                                         server.session = std::move(session);
                                         server.session->set_events(&server);
                                       });
    ASSERT_TRUE(result.has_value());
    listener = std::move(*result);
    ASSERT_TRUE(connect().ok());
  }
  static Task<void> run(Fabric* fabric, Side* side, std::optional<Status>* out) {
    ConnectOptions options;
    options.address = "sim://server0";
    options.insecure = true;
    options.events = side;
    auto result = co_await fabric->connect(std::move(options));
    if (result.has_value()) side->session = std::move(*result);
    out->emplace(result.has_value() ? Status() : result.error());
  }
  Status connect() {
    std::optional<Status> out;
    pair.client_loop().spawn(run(&pair.client(), &client, &out));
    EXPECT_TRUE(pair.run_until([&] { return out.has_value(); }));
    return *out;
  }
};

TEST_F(SimFabricPair, a_short_partition_delays_and_loses_nothing) {
  pair.network().partition("client0", "server0");
  ASSERT_TRUE(client.session->send(kRead, 0, {}).ok());
  pair.run_for_ns(2 * kSecond);
  EXPECT_TRUE(server.messages.empty());
  pair.network().heal_all();
  EXPECT_TRUE(pair.run_until([&] { return server.messages.size() == 1; }));
  EXPECT_FALSE(client.closed.has_value());
}

TEST_F(SimFabricPair, what_is_late_when_all_heals_is_late_no_longer_and_keeps_its_order) {
  SimNetworkFaults& faults = pair.network().faults;
  faults.slow_per_million = 1'000'000;
  faults.slow_max_ns = 3600 * kSecond;
  ASSERT_TRUE(client.session->send(kRead, 1, {}).ok());
  ASSERT_TRUE(client.session->send(kRead, 2, {}).ok());
  faults.slow_per_million = 0;
  pair.run_for_ns(kSecond);
  ASSERT_TRUE(server.messages.empty());
  pair.network().heal_all();
  pair.run_for_ns(kMs);
  ASSERT_EQ(server.messages.size(), 2u);
  EXPECT_EQ(server.messages[0].request_id, 1u);
  EXPECT_EQ(server.messages[1].request_id, 2u);
}

TEST_F(SimFabricPair, a_long_one_way_partition_ends_the_session_on_both_sides) {
  pair.network().partition("server0", "client0");
  pair.run_for_ns(8 * kSecond);
  EXPECT_TRUE(client.closed.has_value());
  pair.run_for_ns(8 * kSecond);
  EXPECT_TRUE(server.closed.has_value());
}

TEST_F(SimFabricPair, a_killed_process_gets_no_call_and_its_peer_learns_of_its_end) {
  ASSERT_TRUE(client.session->send(kRead, 0, {}).ok());
  pair.network().kill("server0");
  EXPECT_TRUE(pair.run_until([&] { return client.closed.has_value(); }));
  EXPECT_TRUE(server.messages.empty());
  EXPECT_FALSE(server.closed.has_value());
  client = Side();
  EXPECT_TRUE(connect().is(StatusCode::unavailable));
}

TEST_F(SimFabricPair, a_reset_after_delivery_loses_only_the_answer) {
  pair.network().faults.reset_per_million = 1'000'000;
  int delivered_and_lost = 0;
  for (int i = 0; i < 40; ++i) {
    server.messages.clear();
    pair.network().faults.reset_per_million = 1'000'000;
    ASSERT_TRUE(client.session->send(kRead, client.session->next_request_id(), {}).ok());
    pair.run_for_ns(10 * kMs);
    if (server.messages.size() == 1 && client.closed.has_value()) ++delivered_and_lost;
    pair.network().faults.reset_per_million = 0;
    client.session->close(Status(StatusCode::canceled));
    pair.run_for_ns(10 * kMs);
    client = Side();
    server = Side();
    ASSERT_TRUE(connect().ok());
  }
  EXPECT_GT(delivered_and_lost, 0);
}

}  // namespace
}  // namespace gd2fs
