// For tests: a controller on an in-memory MetaStore in a simulated world, a data server and clients
// that the test plays.
#pragma once

#include <list>
#include <optional>

#include <gtest/gtest.h>

#include "controller/controller.h"
#include "fabric/reply.h"
#include "meta/memory_engine.h"
#include "sim/sim_fabric.h"
#include "sim/sim_world.h"

namespace gd2fs::controller {

// One end of a session: asks, and answers as the test scripted.
struct TestPeer : SessionEvents {
  std::unique_ptr<Session> session;
  std::unique_ptr<Calls> calls;
  std::optional<Status> closed;
  std::function<void(const Message&)> handler;

  void attach(Loop& loop, std::unique_ptr<Session> attached) {
    session = std::move(attached);
    calls = std::make_unique<Calls>(loop, *session);
  }
  void on_message(Session&, const Message& message) override {
    if (handler) handler(message);
  }
  void on_reply(Session&, const Message& reply) override { calls->on_reply(reply); }
  void on_closed(Session&, const Status& reason) override {
    closed = reason;
    calls->on_closed(reason);
  }
};

// A data server that makes fences durable when the test says so.
struct TestServer : TestPeer {
  std::vector<msg::FenceT> fences;
  std::vector<uint64_t> unanswered;  // fence requests, while hold_fences
  bool hold_fences = false;
  Status fence_status;
  msg::ClusterKeysT keys;
  size_t keys_messages = 0;
  bool hold_keys = false;
  int scrubs_left = 0;
  std::vector<uint64_t> evicted;
  std::vector<msg::ServerPinT> pins;
  Status pin_status;

  TestServer() {
    handler = [this](const Message& message) { serve(message); };
  }
  void answer_fences() {
    for (const uint64_t id : unanswered) {
      reply_body(*session, msg::Type::fence, id, pack_body(msg::DoneT{}));
    }
    unanswered.clear();
  }
  void serve(const Message& message) {
    const auto type = static_cast<msg::Type>(message.type);
    if (type == msg::Type::fence) {
      open_body<msg::Fence>(message.body)->UnPackTo(&fences.emplace_back());
      if (!fence_status.ok()) return reply_error(*session, message.request_id, fence_status);
      unanswered.push_back(message.request_id);
      if (!hold_fences) answer_fences();
    } else if (type == msg::Type::cluster_keys) {
      ++keys_messages;
      if (hold_keys) return;
      keys = {};
      open_body<msg::ClusterKeys>(message.body)->UnPackTo(&keys);
      reply_body(*session, type, message.request_id, pack_body(msg::DoneT{}));
    } else if (type == msg::Type::server_status) {
      msg::ServerStatusReplyT reply;
      reply.counters.push_back(std::make_unique<msg::CounterT>());
      reply.counters[0]->name = "gd2fs_server_sessions";
      reply.counters[0]->value = 3;
      reply_body(*session, type, message.request_id, pack_body(reply));
    } else if (type == msg::Type::server_scrub) {
      msg::ScrubReplyT reply;
      reply.running = scrubs_left-- > 0;
      reply.extents = 5;
      reply.findings = {"drive d0"};
      reply_body(*session, type, message.request_id, pack_body(reply));
    } else if (type == msg::Type::server_evict) {
      evicted.push_back(open_body<msg::ServerEvict>(message.body)->inode());
      reply_body(*session, type, message.request_id, pack_body(msg::DoneT{}));
    } else if (type == msg::Type::server_pin) {
      open_body<msg::ServerPin>(message.body)->UnPackTo(&pins.emplace_back());
      if (pins.back().pinned && !pin_status.ok()) {
        return reply_error(*session, message.request_id, pin_status);
      }
      reply_body(*session, type, message.request_id, pack_body(msg::DoneT{}));
    }
  }
};

struct ControllerFixture : testing::Test {
  inline static const std::string kSecret = std::string(32, 's');
  static constexpr uint64_t kDeployment = 0xD0;
  static constexpr const char* kAddress = "tcp://controller:7527";

  SimWorld world{7};
  SimNetwork network{world};
  Loop loop{world.clock(), Loop::Waits::never};        // the controller's
  Loop other_loop{world.clock(), Loop::Waits::never};  // everybody else's
  SimWorld::Member member{world, loop};
  SimWorld::Member other_member{world, other_loop};
  SimFabric others{network, "others", other_loop};
  std::unique_ptr<MemoryMetaStore> store_box = std::make_unique<MemoryMetaStore>(loop);
  std::unique_ptr<SimFabric> fabric;
  std::unique_ptr<Controller> controller;
  std::list<TestServer> servers;
  std::list<TestPeer> peers;
  uint64_t sequence = 0;
  uint64_t incarnation = 100;
  uint32_t session_requests_max = kRequestsMax;
  Random secrets{5};

  ControllerFixture() { start_controller(); }
  ~ControllerFixture() override {
    controller.reset();
    servers.clear();
    peers.clear();
  }

  bool until(const std::function<bool()>& predicate, uint64_t limit_ns = 60 * kSecond) {
    return world.run_until(predicate, limit_ns);
  }
  template <class T>
  static Task<void> keep(Task<T> task, std::optional<T>* out) {
    out->emplace(co_await task);
  }
  template <class T>
  T wait(Loop& on, Task<T> task) {
    std::optional<T> out;
    on.spawn(keep(std::move(task), &out));
    EXPECT_TRUE(until([&] { return out.has_value(); }));
    return std::move(*out);
  }

  ControllerOptions options() {
    ControllerOptions options;
    options.listen = {kAddress};
    options.incarnation = ++incarnation;
    options.deployment_id = kDeployment;
    options.deployment_secret = kSecret;
    options.version = "test";
    options.session_requests_max = session_requests_max;
    options.make_secret = [this](Bytes out) { secrets.fill(out); };
    return options;
  }
  void start_controller() {
    fabric = std::make_unique<SimFabric>(network, "controller", loop);
    auto opened = wait(loop, Controller::open(loop, *store_box, *fabric, options()));
    ASSERT_TRUE(opened.has_value()) << opened.error().to_string();
    controller = std::move(*opened);
  }
  // As after kill -9: nothing was said to anybody.
  void restart_controller() {
    network.kill("controller");
    controller.reset();
    fabric.reset();
    start_controller();
  }

  Status connect(TestPeer& peer, PeerRole role, const std::string& cluster,
                 const std::string& key) {
    ConnectOptions options;
    options.address = kAddress;
    options.role = role;
    options.cluster = cluster;
    options.key = key;
    options.incarnation = ++incarnation;
    options.events = &peer;
    auto session = wait(other_loop, others.connect(options));
    if (!session.has_value()) return session.error();
    peer.attach(other_loop, std::move(*session));
    return {};
  }
  TestPeer& admin() {
    TestPeer& peer = peers.emplace_back();
    EXPECT_EQ(connect(peer, PeerRole::admin, "", kSecret), Status());
    return peer;
  }
  TestPeer& client(const std::string& cluster) {
    TestPeer& peer = peers.emplace_back();
    const std::string secret = controller->clusters().keys(cluster).at(0);
    EXPECT_EQ(connect(peer, PeerRole::client, cluster, secret), Status());
    return peer;
  }
  Cluster make_cluster(const std::string& name) {
    auto made = wait(loop, controller->create_cluster(name));
    EXPECT_TRUE(made.has_value());
    return *made;
  }

  template <class Object>
  struct Asked {
    std::optional<Result<CallReply>> reply;
    bool answered() const { return reply.has_value(); }
  };
  // Sends; the reply comes when the world runs.
  template <class Object>
  std::shared_ptr<Asked<Object>> send(TestPeer& peer, msg::Type type, const Object& request,
                                      uint64_t timeout_ns = 60 * kSecond) {
    auto asked = std::make_shared<Asked<Object>>();
    other_loop.spawn(
        keep_reply<Object>(peer.calls->call(type, pack_body(request), timeout_ns), asked));
    return asked;
  }
  template <class Object>
  static Task<void> keep_reply(Task<Result<CallReply>> task, std::shared_ptr<Asked<Object>> out) {
    auto reply = co_await task;
    out->reply.emplace(std::move(reply));
  }
  template <class Object>
  Result<CallReply> ask(TestPeer& peer, msg::Type type, const Object& request) {
    auto asked = send(peer, type, request);
    EXPECT_TRUE(until([&] { return asked->answered(); }));
    return std::move(*asked->reply);
  }
  template <class Object>
  Status status_of(TestPeer& peer, msg::Type type, const Object& request) {
    auto reply = ask(peer, type, request);
    return reply.has_value() ? Status() : reply.error();
  }
  std::unique_ptr<msg::Tag> tag() {
    ++sequence;
    return std::make_unique<msg::Tag>(0xC11E, sequence, sequence);
  }

  // --- names ---
  Status create(TestPeer& peer, const std::string& path) {
    msg::CreateT request;
    request.path = path;
    request.tag = tag();
    return status_of(peer, msg::Type::create, request);
  }
  msg::UnlinkT unlink_of(const std::string& path) {
    msg::UnlinkT request;
    request.path = path;
    request.tag = tag();
    return request;
  }
  // The info, or the failure.
  Result<msg::FileInfoT> lookup(TestPeer& peer, const std::string& path) {
    msg::LookupT request;
    request.path = path;
    request.write = true;
    GD2FS_ASSIGN(const CallReply reply, ask(peer, msg::Type::lookup, request));
    msg::FileInfoT info;
    reply.open<msg::LookupReply>()->info()->UnPackTo(&info);
    return info;
  }

  // --- the data server ---
  // Registers; answers the reply.
  Result<msg::RegisterServerReplyT> register_server(TestServer& server, uint64_t process,
                                                    uint32_t server_id = 1,
                                                    uint64_t deployment = kDeployment) {
    msg::RegisterServerT request;
    request.info = std::make_unique<msg::ServerInfoT>();
    request.info->server_id = server_id;
    request.info->incarnation = process;
    request.info->addresses = {"tcp://server:7528"};
    request.deployment_id = deployment;
    GD2FS_ASSIGN(const CallReply reply, ask(server, msg::Type::register_server, request));
    msg::RegisterServerReplyT out;
    reply.open<msg::RegisterServerReply>()->UnPackTo(&out);
    return out;
  }
  TestServer& start_server(uint64_t process = 1) {
    TestServer& server = servers.emplace_back();
    EXPECT_EQ(connect(server, PeerRole::server, "", kSecret), Status());
    auto reply = register_server(server, process);
    EXPECT_TRUE(reply.has_value()) << reply.error().to_string();
    return server;
  }
  uint32_t heartbeat(TestServer& server, uint64_t process = 1) {
    msg::HeartbeatT request;
    request.server_id = 1;
    request.incarnation = process;
    auto reply = ask(server, msg::Type::heartbeat, request);
    return reply.has_value() ? reply->open<msg::HeartbeatReply>()->lease_ms() : UINT32_MAX;
  }
};

}  // namespace gd2fs::controller
