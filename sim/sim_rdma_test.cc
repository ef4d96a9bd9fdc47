// RDMA sessions in a simulated world: what ends them, and what NICs do while processes cannot.
#include <gtest/gtest.h>

#include "base/log.h"
#include "fabric/conformance_pairs.h"
#include "fabric/reply.h"

namespace gd2fs {
namespace {

constexpr uint16_t kType = static_cast<uint16_t>(msg::Type::read);
constexpr size_t kLength = 3 << 20;
constexpr std::byte kCanary{0xCA};

class SimRdma : public testing::Test {
 protected:
  static constexpr int kServerNic = 0;
  SimRdmaPair pair{11};
  Random random{5};
  Side client;
  Side server;
  std::unique_ptr<Listener> listener;
  std::vector<std::byte> slab = random_bytes(random, kLength);
  std::vector<std::byte> memory = std::vector<std::byte>(kLength);
  Window window;

  SimRdma() { set_log_level(LogLevel::error); }
  ~SimRdma() override {
    client.session.reset();
    server.session.reset();
    listener.reset();
    set_log_level(LogLevel::info);
  }

  static Task<void> run_connect(Fabric* fabric, ConnectOptions options, Side* out) {
    auto result = co_await fabric->connect(std::move(options));
    if (result.has_value()) out->session = std::move(*result);
  }
  void join() {
    ListenOptions listening;
    listening.insecure = true;
    auto result = pair.server().listen(pair.listen_address(), std::move(listening),
                                       [this](std::unique_ptr<Session> session) {
                                         server.session = std::move(session);
                                         server.session->set_events(&server);
                                       });
    ASSERT_TRUE(result.has_value());
    listener = std::move(*result);
    ConnectOptions options;
    options.address = pair.listen_address();
    options.events = &client;
    pair.client_loop().spawn(run_connect(&pair.client(), std::move(options), &client));
    ASSERT_TRUE(pair.run_until([&] { return client.session && server.session; }));
    ASSERT_EQ(client.session->path(), "rdma");
  }
  // A request for kLength bytes, which the server has.
  void ask() {
    window.segments = {{memory.data(), memory.size()}};
    window.request_id = client.session->next_request_id();
    client.session->expose(window);
    ASSERT_TRUE(client.session->send(kType, window.request_id, {}, &window).ok());
    ASSERT_TRUE(pair.run_until([&] { return server.messages.size() == 1; }));
  }
  // The memory is somebody else's.
  void reuse() { std::ranges::fill(memory, kCanary); }
  bool untouched() const {
    return std::ranges::all_of(memory, [](std::byte byte) { return byte == kCanary; });
  }
  // The server's NIC is held with all that was pushed. Its memory comes back only when the server
  // was cut off, and what is carried out later does not reach it; or it does.
  void give_up_while_the_nic_is_held() {
    ask();
    pair.nics().hold(kServerNic, true);
    PushFlag push(window.request_id, 0, slab);
    server.session->push(push);
    pair.run_for_ns(kMs);
    Flag back;
    client.session->withdraw(window, back.done);
    ASSERT_TRUE(pair.run_until([&] { return back.finished; }));
    reuse();
    pair.nics().hold(kServerNic, false);
    ASSERT_TRUE(pair.run_until([&] { return push.finished; }));
    pair.run_for_ns(kSecond);
  }
};

TEST_F(SimRdma, nics_move_the_bytes_of_a_request) {
  ASSERT_NO_FATAL_FAILURE(join());
  ASSERT_NO_FATAL_FAILURE(ask());
  PushFlag push(window.request_id, 0, slab);
  server.session->push(push);
  ASSERT_TRUE(server.session->reply(kType, window.request_id, {}).ok());
  ASSERT_TRUE(pair.run_until([&] { return client.replies.size() == 1 && push.finished; }));
  EXPECT_EQ(memory, slab);
  EXPECT_EQ(pair.nics().moved().written, kLength);
}

TEST_F(SimRdma, the_nic_of_a_stopped_process_goes_on) {
  ASSERT_NO_FATAL_FAILURE(join());
  ASSERT_NO_FATAL_FAILURE(ask());
  PushFlag push(window.request_id, 0, slab);
  server.session->push(push);
  (void)pair.server_loop().run_ready();  // it is posted
  pair.stop_server();
  pair.run_for_ns(kSecond);
  EXPECT_EQ(memory, slab);
  EXPECT_FALSE(push.finished);
  pair.let_server_go_on();
  EXPECT_TRUE(pair.run_until([&] { return push.finished; }));
}

TEST_F(SimRdma, a_partition_of_the_network_ends_the_session_though_nics_still_reach_each_other) {
  ASSERT_NO_FATAL_FAILURE(join());
  pair.network().partition_both("client0", "server0");
  EXPECT_TRUE(pair.run_until([&] { return client.closed && server.closed; }));
  EXPECT_LE(pair.world().clock().now_ns(), 20 * kSecond);
}

TEST_F(SimRdma, nics_that_are_cut_from_each_other_end_the_session) {
  ASSERT_NO_FATAL_FAILURE(join());
  pair.nics().cut(0, 1, true);
  ASSERT_TRUE(client.session->send(kType, client.session->next_request_id(), {}, nullptr).ok());
  EXPECT_TRUE(pair.run_until([&] { return client.closed && server.closed; }));
  EXPECT_LE(pair.world().clock().now_ns(), 2 * kSecond);
}

TEST_F(SimRdma, a_killed_client_says_nothing_more_and_its_server_learns_it) {
  ASSERT_NO_FATAL_FAILURE(join());
  ASSERT_NO_FATAL_FAILURE(ask());
  Flag back;
  client.session->withdraw(window, back.done);
  pair.kill_client();
  EXPECT_TRUE(pair.run_until([&] { return server.closed && back.finished; }));
  pair.run_for_ns(kSecond);
  EXPECT_FALSE(client.closed.has_value());
}

TEST_F(SimRdma, memory_comes_back_from_a_server_whose_nic_is_held_when_that_is_cut_off) {
  ASSERT_NO_FATAL_FAILURE(join());
  ASSERT_NO_FATAL_FAILURE(give_up_while_the_nic_is_held());
  EXPECT_TRUE(client.closed.has_value());
  EXPECT_TRUE(untouched());
}

TEST_F(SimRdma, late_bytes_show_when_a_client_does_not_ask_for_its_memory) {
  ASSERT_NO_FATAL_FAILURE(join());
  pair.nics().skip_recalls = true;
  ASSERT_NO_FATAL_FAILURE(give_up_while_the_nic_is_held());
  EXPECT_FALSE(untouched());
}

}  // namespace
}  // namespace gd2fs
