// What is promised of keys and of credit, over whatever NICs there are: those that GD2FS_DPADDR
// names ("rdma://10.77.0.1", soft-RoCE in the guest of tests/rdma), or else the fake ones.
#include <array>
#include <cstdlib>
#include <string>

#include "fabric/rdma_forger.h"
#include "fabric/rdma_world.h"

namespace gd2fs {
namespace {

class RdmaAnyNic : public testing::Test {
 protected:
  static constexpr uint16_t kType = RdmaForger::kType;
  static constexpr const char* kKey = "0123456789abcdef0123456789abcdef";

  const std::string host = named_host();
  RealClock clock;
  Loop loop{clock, Loop::Waits::epoll};
  ThreadWorker worker{"resolver"};
  RdmaFabric at_server{loop, worker};
  RdmaFabric at_client{loop, worker};
  Random random{7};
  std::unique_ptr<Listener> listener;
  std::list<Side> accepted;

  // "rdma://HOST,..." -> HOST; without it the fake NICs.
  static std::string named_host() {
    const char* named = std::getenv("GD2FS_DPADDR");  // NOLINT(concurrency-mt-unsafe)
    const std::string rails = named == nullptr ? "" : named;
    if (rails.starts_with(kRdmaScheme)) {
      return rails.substr(kRdmaScheme.size(), rails.find(',') - kRdmaScheme.size());
    }
    verbs::TestVerbs::instance().reset();
    return "127.0.0.1";
  }
  ~RdmaAnyNic() override {
    for (Side& side : accepted) side.session.reset();
  }
  bool until(const std::function<bool()>& predicate) {
    const uint64_t end_ns = clock.now_ns() + 20 * kSecond;
    while (!predicate()) {
      if (clock.now_ns() > end_ns) return false;
      loop.turn(10 * kMs);
    }
    return true;
  }
  void listen() {
    ListenOptions options;
    options.keys = [](PeerRole, std::string_view) { return std::vector<std::string>{kKey}; };
    auto result = at_server.listen("rdma://" + host + ":0", std::move(options),
                                   [this](std::unique_ptr<Session> session) {
                                     Side& side = accepted.emplace_back();
                                     side.session = std::move(session);
                                     side.session->set_events(&side);
                                   });
    ASSERT_TRUE(result.has_value()) << result.error().to_string();
    listener = std::move(*result);
  }
  ConnectOptions to_server() {
    ConnectOptions options;
    options.address = listener->address();
    options.local_address = "rdma://" + host;
    options.cluster = "kv";
    options.key = kKey;
    return options;
  }
  // The server's end of it is the last that was accepted.
  void connect(Side& client) {
    const size_t before = accepted.size();
    const Status status = connect_side(at_client, loop, to_server(), client,
                                       [this](const auto& predicate) { return until(predicate); });
    ASSERT_TRUE(status.ok()) << status.to_string();
    ASSERT_EQ(client.session->path(), "rdma");
    ASSERT_TRUE(until([&] { return accepted.size() > before; }));
  }
  void join(RawRdmaEnd& end) {
    const size_t before = accepted.size();
    ConnectOptions options = to_server();
    options.local_address = "tcp://" + host;
    end.join(std::move(options));
    ASSERT_TRUE(until([&] { return end.outcome() && accepted.size() > before; }));
    ASSERT_TRUE(end.outcome()->ok()) << end.outcome()->to_string();
  }
};

// Beside a forger somebody works with the same server as if nothing were.
TEST_F(RdmaAnyNic, keys_of_others_and_keys_that_have_ended_open_nothing) {
  const std::vector<std::byte> slab = random_bytes(random, 256 * kKiB);
  std::vector<std::byte> memory(slab.size());
  std::vector<std::byte> from = slab;
  ASSERT_NO_FATAL_FAILURE(listen());
  Side client;
  ASSERT_NO_FATAL_FAILURE(connect(client));
  Side& server = accepted.back();
  const Registered source(at_server, from, false);
  const Registered target(at_client, memory, true);
  const auto read_as_ever = [&] {
    std::ranges::fill(memory, std::byte{0});
    Window window;
    window.segments = {{memory.data(), memory.size()}};
    window.request_id = client.session->next_request_id();
    client.session->expose(window);
    client.replies.clear();
    server.messages.clear();
    ASSERT_TRUE(client.session->send(kType, window.request_id, {}, &window).ok());
    ASSERT_TRUE(until([&] { return server.messages.size() == 1; }));
    PushFlag push(window.request_id, 0, from);
    server.session->push(push);
    ASSERT_TRUE(server.session->reply(kType, window.request_id, {}).ok());
    ASSERT_TRUE(until([&] { return client.replies.size() == 1 && push.finished; }));
    EXPECT_TRUE(memory == slab);
    Flag back;
    client.session->withdraw(window, back.done);
    ASSERT_TRUE(until([&] { return back.finished; }));
  };
  ASSERT_NO_FATAL_FAILURE(read_as_ever());

  RdmaForger forger(loop, worker);
  const Registered forged_slab(at_server, forger.slab, false);
  const Registered forged_page(at_server, forger.page, false);
  RawRdmaEnd other(loop, worker);  // whose keys the forger knows
  ASSERT_NO_FATAL_FAILURE(join(other));
  ASSERT_TRUE(other.add(forger.victim).ok());
  forger.victim_key = other.segment(forger.victim).key;
  const auto let_forger_in = [&] {
    ASSERT_NO_FATAL_FAILURE(join(forger.end));
    Side& side = accepted.back();
    side.handler = [&](const Message& message) { forger.serve(*side.session, message); };
    forger.begin();
  };
  // As it should be: nothing will be wrong with what the forger says but its keys.
  ASSERT_NO_FATAL_FAILURE(let_forger_in());
  forger.ask_honestly();
  ASSERT_TRUE(until([&] { return forger.end.replies() == 1; }));
  EXPECT_TRUE(forger.own_is_slab());
  forger.clean();
  for (size_t i = 0; i < 2 * kForgeries; ++i) {
    const auto kind = static_cast<Forgery>(i % kForgeries);
    SCOPED_TRACE(name_of(kind));
    ASSERT_NO_FATAL_FAILURE(let_forger_in());
    // Of the server's memory nobody is told the keys: they are guessed.
    forger.slab_key = forger.page_key = static_cast<uint32_t>(random.next());
    forger.strike(kind, random);
    Side& ended = accepted.back();
    ASSERT_TRUE(until([&] { return ended.closed.has_value() && !forger.end.open(); }));
    EXPECT_TRUE(ended.closed->is(StatusCode::unavailable)) << ended.closed->to_string();
    forger.expect_refused();
    EXPECT_FALSE(forger.let_in());
    EXPECT_EQ(forger.touched(), 0u);
    ASSERT_NO_FATAL_FAILURE(read_as_ever());
  }
  EXPECT_TRUE(client.session->open() && other.open());
}

TEST_F(RdmaAnyNic, messages_wait_for_credit_and_none_is_lost) {
  constexpr uint64_t kMessages = 400;
  ASSERT_NO_FATAL_FAILURE(listen());
  std::array<Side, 2> clients;
  std::vector<std::byte> body = random_bytes(random, 3000);
  for (Side& client : clients) {
    ASSERT_NO_FATAL_FAILURE(connect(client));
  }
  const auto waits = [&] { return at_client.counters().credit_waits; };
  const uint64_t waits_before = waits();
  for (uint64_t i = 1; i <= kMessages; ++i) {
    for (Side& client : clients) {
      store_le(body.data(), i);
      ASSERT_TRUE(client.session->send(kType, client.session->next_request_id(), body).ok());
    }
  }
  for (Side& server : accepted) {
    ASSERT_TRUE(until([&] { return server.messages.size() == kMessages; }));
  }
  EXPECT_GT(waits(), waits_before);  // more was sent than there were buffers for
  const uint64_t server_waits_before = at_server.counters().credit_waits;
  for (Side& server : accepted) {
    for (uint64_t i = 1; i <= kMessages; ++i) {
      const Received& message = server.messages[i - 1];
      ASSERT_EQ(load_le<uint64_t>(message.body.data()), i);
      ASSERT_TRUE(
          std::ranges::equal(ConstBytes(message.body).subspan(8), ConstBytes(body).subspan(8)));
      ASSERT_TRUE(server.session->reply(kType, message.request_id, message.body).ok());
    }
  }
  for (Side& client : clients) {
    ASSERT_TRUE(until([&] { return client.replies.size() == kMessages; }));
    EXPECT_TRUE(client.session->open());
  }
  EXPECT_GT(at_server.counters().credit_waits, server_waits_before);
  for (uint64_t i = 1; i <= kMessages; ++i) {
    for (const Side& client : clients) {
      ASSERT_EQ(load_le<uint64_t>(client.replies[i - 1].body.data()), i);
    }
  }
}

}  // namespace
}  // namespace gd2fs
