// The way to a session, and how it stays alive.
#include <ifaddrs.h>
#include <list>

#include <gtest/gtest.h>
#include <netinet/in.h>

#include "fabric/conformance_pair.h"
#include "fabric/raw_peer.h"
#include "fabric/tcp_fabric.h"
#include "loop/task_group.h"

namespace gd2fs {
namespace {

// A worker whose jobs run when the test says so.
class HeldWorker final : public Worker {
 public:
  void submit(Loop& loop, Job& job) override { jobs_.emplace_back(&loop, &job); }
  size_t waiting() const { return jobs_.size(); }
  void run_all() {
    while (!jobs_.empty()) {
      const auto [loop, job] = jobs_.back();
      jobs_.pop_back();
      InlineWorker().submit(*loop, *job);
    }
  }

 private:
  std::vector<std::pair<Loop*, Job*>> jobs_;
};

class TcpConnectTest : public testing::Test {
 protected:
  RealClock clock;
  Loop loop{clock, Loop::Waits::epoll};
  HeldWorker worker;
  TcpOptions tcp{.lanes_min = 3, .ping_after_ns = 20 * kMs, .dead_after_ns = 60 * kMs};
  TcpFabric fabric{loop, worker, tcp};
  std::list<Side> accepted;
  std::unique_ptr<Listener> listener;
  Side client;

  void TearDown() override {
    client.session.reset();
    for (Side& side : accepted) side.session.reset();
    listener.reset();
    worker.run_all();
    while (loop.run_ready() > 0) {
    }
  }
  void listen(const std::string& address) {
    ListenOptions options;
    options.insecure = true;
    auto result =
        fabric.listen(address, std::move(options), [this](std::unique_ptr<Session> session) {
          Side& side = accepted.emplace_back();
          side.session = std::move(session);
          side.session->set_events(&side);
        });
    ASSERT_TRUE(result.has_value()) << result.error().to_string();
    listener = std::move(*result);
  }
  uint16_t port() const { return parse_tcp_address(listener->address())->port; }
  bool until(const std::function<bool()>& predicate) {
    const uint64_t end_ns = clock.now_ns() + 10 * kSecond;
    while (!predicate() && clock.now_ns() < end_ns) loop.turn(kMs);
    return predicate();
  }
  ConnectOptions to(std::string address) {
    ConnectOptions options;
    options.address = std::move(address);
    options.insecure = true;
    options.events = &client;
    return options;
  }
  struct Outcome {
    std::unique_ptr<Session> session;
    Status status;
    bool done = false;
  };
  static Task<void> run(TcpFabric* fabric, ConnectOptions options, Outcome* out) {
    auto session = co_await fabric->connect(std::move(options));
    if (session.has_value()) {
      out->session = std::move(*session);
    } else {
      out->status = session.error();
    }
    out->done = true;
  }
  Status connect(ConnectOptions options) {
    Outcome out;
    loop.spawn(run(&fabric, std::move(options), &out));
    EXPECT_TRUE(until([&] {
      worker.run_all();
      return out.done;
    }));
    client.session = std::move(out.session);
    return out.status;
  }
};

TEST_F(TcpConnectTest, a_name_is_looked_up_on_the_worker_and_each_of_its_addresses_is_tried) {
  listen("tcp://127.0.0.1:0");  // localhost may be ::1 first
  Outcome out;
  loop.spawn(run(&fabric, to("tcp://localhost:" + std::to_string(port())), &out));
  ASSERT_TRUE(until([&] { return worker.waiting() == 1; }));
  loop.turn(0);
  EXPECT_FALSE(out.done);
  worker.run_all();
  ASSERT_TRUE(until([&] { return out.done; }));
  EXPECT_TRUE(out.status.ok()) << out.status.to_string();
}

TEST_F(TcpConnectTest, a_numeric_address_needs_no_worker) {
  listen("tcp://127.0.0.1:0");
  Outcome out;
  loop.spawn(run(&fabric, to(listener->address()), &out));
  ASSERT_TRUE(until([&] { return out.done; }));
  EXPECT_TRUE(out.status.ok());
  EXPECT_EQ(worker.waiting(), 0u);
}

TEST_F(TcpConnectTest, a_look_up_without_end_is_timed_out_and_may_end_later) {
  ConnectOptions options = to("tcp://some-name:7528");
  options.timeout_ns = 20 * kMs;
  Outcome out;
  loop.spawn(run(&fabric, std::move(options), &out));
  ASSERT_TRUE(until([&] { return out.done; }));
  EXPECT_TRUE(out.status.is(StatusCode::timed_out)) << out.status.to_string();
  EXPECT_EQ(worker.waiting(), 1u);
  worker.run_all();
  loop.turn(0);
}

TEST_F(TcpConnectTest, a_dropped_connect_leaves_nothing_behind_wherever_it_was) {
  listen("tcp://127.0.0.1:0");
  for (int turns = 0; turns < 40; ++turns) {
    Outcome out;
    TaskGroup group(loop);
    group.spawn(
        run(&fabric,
            to(turns % 2 == 0 ? "tcp://localhost:" + std::to_string(port()) : listener->address()),
            &out));
    for (int i = 0; i < turns; ++i) {
      if (i == turns / 2) worker.run_all();
      loop.turn(0);
    }
  }
  worker.run_all();
  EXPECT_TRUE(until([&] {
    return std::ranges::all_of(accepted, [](const Side& side) { return side.closed.has_value(); });
  }));
}

TEST_F(TcpConnectTest, a_server_that_says_nothing_is_timed_out) {
  const auto any = resolve({"127.0.0.1", 0}, Resolve::numeric_only);
  const auto mute = TcpSocket::listen(any->front());  // the kernel accepts, nobody answers
  ASSERT_TRUE(mute.has_value());
  ConnectOptions options = to(socket_address_of(mute->fd())->to_string());
  options.timeout_ns = 50 * kMs;
  const uint64_t begin_ns = clock.now_ns();
  const Status status = connect(options);
  EXPECT_TRUE(status.is(StatusCode::timed_out)) << status.to_string();
  EXPECT_LT(clock.now_ns() - begin_ns, 5 * kSecond);
}

TEST_F(TcpConnectTest,
       a_session_has_as_many_lanes_as_asked_for_and_at_least_the_fabrics_own_floor) {
  listen("tcp://127.0.0.1:0");
  for (const uint32_t asked : {0u, 1u, 3u, 7u, 99u}) {
    ConnectOptions options = to(listener->address());
    options.lanes = asked;
    ASSERT_TRUE(connect(options).ok());
    const auto& session = static_cast<const TcpSession&>(*client.session);
    EXPECT_EQ(session.lanes(), asked == 0 ? 1u : std::clamp(asked, 3u, kLanesMax));
  }
}

TEST_F(TcpConnectTest, a_local_address_is_bound_to_and_a_loopback_one_means_any) {
  listen("tcp://0.0.0.0:0");
  ConnectOptions options = to("tcp://127.0.0.1:" + std::to_string(port()));
  options.local_address = "tcp://127.0.0.1";
  EXPECT_TRUE(connect(options).ok());
  options.local_address = "tcp://127.0.0.3";  // to a loopback address from another
  accepted.clear();
  EXPECT_TRUE(connect(options).ok());
  EXPECT_EQ(parse_tcp_address(accepted.front().session->peer().address)->host, "127.0.0.3");
  options.local_address = "tcp://203.0.113.7";  // of nobody here
  EXPECT_FALSE(connect(options).ok());
  options.local_address = "tcp://no-number";
  EXPECT_TRUE(connect(options).is(StatusCode::invalid));
  options.local_address = "tcp://[fd00::1]";  // of the other family
  EXPECT_TRUE(connect(options).is(StatusCode::unavailable));

  ifaddrs* all = nullptr;
  ASSERT_EQ(getifaddrs(&all), 0);
  for (const ifaddrs* at = all; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || at->ifa_addr->sa_family != AF_INET) continue;
    SocketAddress nic;
    std::memcpy(&nic.storage, at->ifa_addr, sizeof(sockaddr_in));
    nic.length = sizeof(sockaddr_in);
    if (nic.is_loopback()) continue;
    const std::string host = parse_tcp_address(nic.to_string())->host;
    options = to("tcp://" + host + ":" + std::to_string(port()));
    options.local_address = "tcp://" + host;
    accepted.clear();
    ASSERT_TRUE(connect(options).ok()) << host;
    EXPECT_EQ(parse_tcp_address(accepted.front().session->peer().address)->host, host);
  }
  freeifaddrs(all);
}

TEST_F(TcpConnectTest, an_idle_session_stays_alive) {
  listen("tcp://127.0.0.1:0");
  ASSERT_TRUE(connect(to(listener->address())).ok());
  const uint64_t end_ns = clock.now_ns() + 300 * kMs;  // many times dead_after_ns
  while (clock.now_ns() < end_ns) loop.turn(kMs);
  EXPECT_FALSE(client.closed.has_value());
  EXPECT_FALSE(accepted.front().closed.has_value());
}

TEST_F(TcpConnectTest, a_peer_that_falls_silent_is_noticed) {
  listen("tcp://127.0.0.1:0");
  HelloFacts hello;
  hello.lanes = 1;
  ClientHandshake handshake(hello, "", true);
  RawPeer peer(listener->address(), [this] { loop.turn(kMs); });
  ASSERT_TRUE(peer.greet(handshake).has_value());
  ASSERT_TRUE(until([&] { return accepted.size() == 1; }));
  const uint64_t begin_ns = clock.now_ns();
  ASSERT_TRUE(until([&] { return accepted.front().closed.has_value(); }));
  EXPECT_GE(clock.now_ns() - begin_ns, 40 * kMs);
  EXPECT_TRUE(accepted.front().closed->is(StatusCode::unavailable));
  EXPECT_NE(accepted.front().closed->text().find("silent"), std::string_view::npos);
}

TEST_F(TcpConnectTest, a_session_outlives_its_fabric_and_its_listener) {
  listen("tcp://127.0.0.1:0");
  auto brief = std::make_unique<TcpFabric>(loop, worker, tcp);
  Outcome out;
  loop.spawn(run(brief.get(), to(listener->address()), &out));
  ASSERT_TRUE(until([&] { return out.done; }));
  ASSERT_TRUE(out.status.ok());
  client.session = std::move(out.session);
  brief.reset();
  listener.reset();
  ASSERT_TRUE(client.session->send(65, client.session->next_request_id(), {}).ok());
  ASSERT_TRUE(until([&] { return accepted.front().messages.size() == 1; }));
}

}  // namespace
}  // namespace gd2fs
