// For tests: a server on the NIC fake1 and a client on fake0, on one loop.
#pragma once

#include <list>

#include <gtest/gtest.h>

#include "fabric/conformance_pair.h"
#include "fabric/rdma_fabric.h"
#include "verbs/test_verbs.h"
#include "wire/message.h"

namespace gd2fs {

// Memory that the NICs know, for a scope.
class Registered {
 public:
  Registered(Fabric& fabric, std::vector<std::byte>& bytes, bool for_peers) : fabric_(fabric) {
    memory_.address = bytes.data();
    memory_.length_bytes = bytes.size();
    memory_.for_peers = for_peers;
    const Status added = fabric.add_memory(memory_);
    EXPECT_TRUE(added.ok()) << added.to_string();
  }
  ~Registered() { fabric_.remove_memory(memory_); }
  Registered(const Registered&) = delete;
  Registered& operator=(const Registered&) = delete;

 private:
  Fabric& fabric_;
  FabricMemory memory_;
};

class RdmaWorld : public testing::Test {
 protected:
  static constexpr uint16_t kType = static_cast<uint16_t>(msg::Type::read);
  static constexpr const char* kKey = "0123456789abcdef0123456789abcdef";
  static constexpr int kServer = 1;  // device
  static constexpr int kClient = 0;  // what connects to any 127.0.0.x comes from 127.0.0.1

  verbs::TestVerbs& fake = verbs::TestVerbs::instance();
  RealClock clock;
  Loop loop{clock, Loop::Waits::epoll};
  ThreadWorker worker{"resolver"};
  RdmaFabric fabric{loop, worker};
  Random random{7};
  std::unique_ptr<Listener> listener;
  Side client;
  std::list<Side> accepted;

  RdmaWorld() { fake.reset(); }
  ~RdmaWorld() override {
    fake.reset();
    client.session.reset();
    for (Side& side : accepted) side.session.reset();
    listener.reset();
  }
  void listen() {
    ListenOptions options;
    options.server_id = 3;
    options.incarnation = 77;
    options.keys = [](PeerRole, std::string_view) { return std::vector<std::string>{kKey}; };
    auto result = fabric.listen("rdma://127.0.0.2:0", std::move(options),
                                [this](std::unique_ptr<Session> session) {
                                  Side& side = accepted.emplace_back();
                                  side.session = std::move(session);
                                  side.session->set_events(&side);
                                });
    ASSERT_TRUE(result.has_value()) << result.error().to_string();
    listener = std::move(*result);
  }
  ConnectOptions options_to(const std::string& address) {
    ConnectOptions options;
    options.address = address;
    options.cluster = "kv";
    options.key = kKey;
    options.incarnation = 42;
    return options;
  }
  Status connect(ConnectOptions options) {
    return connect_side(fabric, loop, std::move(options), client,
                        [this](const auto& predicate) { return until(predicate); });
  }
  // After both sides were closed: a new pair, which works.
  void connect_again() {
    client.session.reset();
    accepted.clear();
    client.closed.reset();
    ASSERT_TRUE(connect(options_to(listener->address())).ok());
    ASSERT_TRUE(until([&] { return accepted.size() == 1; }));
    ASSERT_TRUE(client.session->send(kType, client.session->next_request_id(), {}).ok());
    EXPECT_TRUE(until([&] { return server().messages.size() == 1; }));
  }
  void join() {
    ASSERT_NO_FATAL_FAILURE(listen());
    const Status status = connect(options_to(listener->address()));
    ASSERT_TRUE(status.ok()) << status.to_string();
    ASSERT_TRUE(until([&] { return accepted.size() == 1; }));
    ASSERT_EQ(client.session->path(), "rdma");
  }
  Side& server() { return accepted.front(); }
  bool until(const std::function<bool()>& predicate) {
    const uint64_t end_ns = clock.now_ns() + 20 * kSecond;
    while (!predicate()) {
      if (clock.now_ns() > end_ns) return false;
      loop.turn(10 * kMs);
    }
    return true;
  }
  void run_for_ns(uint64_t ns) {
    const uint64_t end_ns = clock.now_ns() + ns;
    while (clock.now_ns() < end_ns) loop.turn(kMs);
  }
  // Of the client; the server has it.
  uint64_t request(Window& window, Window::Direction direction, Bytes memory) {
    window.direction = direction;
    window.segments = {{memory.data(), memory.size()}};
    window.request_id = client.session->next_request_id();
    client.session->expose(window);
    EXPECT_TRUE(client.session->send(kType, window.request_id, {}, &window).ok());
    const size_t before = server().messages.size();
    EXPECT_TRUE(until([&] { return server().messages.size() > before; }));
    return window.request_id;
  }
  void give_back(Window& window) {
    Flag flag;
    client.session->withdraw(window, flag.done);
    ASSERT_TRUE(until([&] { return flag.finished; }));
  }
};

}  // namespace gd2fs
