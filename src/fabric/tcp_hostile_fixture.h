// Hostile: a TCP server on a loop, peers over plain sockets that say to it what they like, and an
// honest client that must still be served. Notes what is logged.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/log.h"
#include "fabric/conformance_pair.h"
#include "fabric/raw_peer.h"
#include "fabric/tcp_fabric.h"

namespace gd2fs {

// With true, threads move the lanes but the first.
class Hostile : public testing::TestWithParam<bool> {
 protected:
  static constexpr char kKey[] = "the token of the cluster kv .....";
  inline static std::string g_log;

  RealClock clock;
  Loop loop{clock, Loop::Waits::epoll};
  ThreadWorker worker{"resolver"};
  TcpOptions tcp{.lanes_min = 2,
                 .pumps = GetParam() ? std::make_shared<LanePumps>(2) : nullptr,
                 .pumps_from_bytes = 1,
                 .greetings_max = 20};
  TcpFabric fabric{loop, worker, tcp};
  std::list<Side> accepted;
  std::unique_ptr<Listener> listener;
  Side honest;

  void SetUp() override {
    g_log.clear();
    set_log_sink([](LogLevel, std::string_view line) {
      g_log += line;
      g_log += '\n';
    });
    listen(kSecond);
  }
  void TearDown() override {
    set_log_sink(nullptr);
    honest.session.reset();
    for (Side& side : accepted) side.session.reset();
    listener.reset();
  }
  void listen(uint64_t handshake_timeout_ns) {
    ListenOptions options;
    options.handshake_timeout_ns = handshake_timeout_ns;
    options.keys = [](PeerRole role, std::string_view cluster) {
      return role == PeerRole::client && cluster == "kv" ? std::vector<std::string>{kKey}
                                                         : std::vector<std::string>();
    };
    auto result = fabric.listen("tcp://127.0.0.1:0", std::move(options),
                                [this](std::unique_ptr<Session> session) {
                                  Side& side = accepted.emplace_back();
                                  side.session = std::move(session);
                                  side.session->set_events(&side);
                                });
    ASSERT_TRUE(result.has_value());
    listener = std::move(*result);
  }
  void turn() { loop.turn(kMs); }
  RawPeer peer() {
    return RawPeer(listener->address(), [this] { turn(); });
  }
  bool until(const std::function<bool()>& predicate) {
    const uint64_t end_ns = clock.now_ns() + 10 * kSecond;
    while (!predicate() && clock.now_ns() < end_ns) turn();
    return predicate();
  }
  // An honest client gets in and gets its answer.
  void expect_honest_work() {
    honest = Side();
    const size_t before = accepted.size();
    ConnectOptions options;
    options.address = listener->address();
    options.cluster = "kv";
    options.key = kKey;
    const Status status = connect_side(fabric, loop, std::move(options), honest,
                                       [this](const auto& predicate) { return until(predicate); });
    ASSERT_TRUE(status.ok()) << status.to_string();
    ASSERT_GT(accepted.size(), before);
    Side& server = accepted.back();
    const auto from = std::vector<std::byte>(1'000'000, std::byte{5});
    std::vector<std::byte> to(from.size());
    Window window;
    window.segments = {{to.data(), to.size()}};
    window.request_id = honest.session->next_request_id();
    honest.session->expose(window);
    ASSERT_TRUE(honest.session->send(65, window.request_id, {}, &window).ok());
    ASSERT_TRUE(until([&] { return !server.messages.empty(); }));
    PushFlag push(window.request_id, 0, from);
    server.session->push(push);
    ASSERT_TRUE(server.session->reply(65, window.request_id, {}).ok());
    ASSERT_TRUE(until([&] { return honest.replies.size() == 1 && push.finished; }));
    EXPECT_TRUE(to == from);
    Flag flag;
    honest.session->withdraw(window, flag.done);
    ASSERT_TRUE(until([&] { return flag.finished; }));
  }
  static HelloFacts hello() {
    HelloFacts facts;
    facts.cluster = "kv";
    facts.incarnation = 5;
    facts.lanes = 2;
    return facts;
  }
  // A peer that has the token, and then says what it likes.
  struct Insider {
    RawPeer raw;
    ClientHandshake handshake;
    msg::WelcomeT welcome;
  };
  std::unique_ptr<Insider> insider() {
    auto made = std::make_unique<Insider>(
        Insider{peer(), ClientHandshake(hello(), kKey, false), msg::WelcomeT()});
    const auto welcome = made->raw.greet(made->handshake);
    EXPECT_TRUE(welcome.has_value());
    if (welcome) made->welcome = *welcome;
    EXPECT_TRUE(until([&] { return !accepted.empty(); }));
    return made;
  }
  RawPeer second_lane(Insider& of) {
    HelloFacts facts = hello();
    facts.session = of.welcome.session;
    facts.lane = 1;
    RawPeer lane = peer();
    ClientHandshake handshake(facts, of.handshake.session_key(), false);
    EXPECT_TRUE(lane.greet(handshake).has_value());
    return lane;
  }
  // The session of the insider ends, with this code and this word in the log.
  void expect_ended(Insider& liar, StatusCode code, const char* word) {
    EXPECT_TRUE(liar.raw.closed_by_peer());
    Side& server = accepted.front();
    ASSERT_TRUE(until([&] { return server.closed.has_value(); })) << word;
    EXPECT_EQ(server.closed->code(), code) << server.closed->to_string();
    EXPECT_NE(g_log.find(word), std::string::npos) << word << " not in: " << g_log;
    EXPECT_EQ(server.times_closed, 1);
    expect_honest_work();
  }
};

}  // namespace gd2fs
