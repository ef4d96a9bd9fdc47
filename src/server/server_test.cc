#include "server/server.h"

#include <optional>

#include <gtest/gtest.h>

#include "fabric/calls.h"
#include "fabric/conformance_pair.h"
#include "fabric/reply.h"
#include "server/fake_store.h"
#include "sim/sim_fabric.h"
#include "sim/sim_world.h"
#include "wire/capability.h"

namespace gd2fs::server {
namespace {

constexpr uint16_t kCluster = 3;
constexpr uint64_t kInode = (uint64_t{kCluster} << 48) | 77;
const std::string kSecret(32, 's');
const std::string kToken(32, 't');
const std::string kCapabilityKey(32, 'c');
const std::string kPreviousCapabilityKey(32, 'p');

// One end of a session in a test: asks, and answers with what the test scripted.
struct TestPeer final : SessionEvents {
  std::unique_ptr<Session> session;
  std::unique_ptr<Calls> calls;
  std::function<void(const Message&)> handler;
  std::optional<Status> closed;

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
    if (calls != nullptr) calls->on_closed(reason);
  }
};

struct ServerTest : testing::Test {
  SimWorld world{42};
  SimNetwork network{world};
  Loop loop{world.clock(), Loop::Waits::never};        // the server's
  Loop other_loop{world.clock(), Loop::Waits::never};  // everybody else's
  SimWorld::Member member{world, loop};
  SimWorld::Member other_member{world, other_loop};
  SimFabric fabric{network, "server0", loop};
  SimFabric other_fabric{network, "others", other_loop};
  FakeStore store{loop};

  // The controller.
  std::unique_ptr<Listener> controller;
  std::list<TestPeer> registered;  // one per session of the server
  std::vector<std::vector<std::string>> addresses_seen;
  std::vector<uint64_t> inode_ends;
  int inode_ends_asked = 0;
  int renewals_asked = 0;
  uint32_t lease_ms = 5000;
  size_t heartbeats = 0;
  std::vector<std::string> clusters{"models"};
  std::optional<Server> server;

  ServerTest() { start_controller(); }
  ~ServerTest() override {
    server.reset();
    registered.clear();
  }

  void start_controller() {
    ListenOptions options;
    options.incarnation = 7;
    options.keys = [](PeerRole role, std::string_view) {
      return role == PeerRole::server ? std::vector<std::string>{kSecret}
                                      : std::vector<std::string>{};
    };
    auto listening = other_fabric.listen("tcp://others:7527", options, [this](auto session) {
      TestPeer& peer = registered.emplace_back();
      session->set_events(&peer);
      peer.attach(other_loop, std::move(session));
      peer.handler = [this, &peer](const Message& message) { answer(peer, message); };
    });
    ASSERT_TRUE(listening.has_value());
    controller = std::move(*listening);
  }
  std::unique_ptr<msg::ClusterKeysT> cluster_keys() const {
    auto keys = std::make_unique<msg::ClusterKeysT>();
    for (const std::string& name : clusters) {
      auto& key = keys->keys.emplace_back(std::make_unique<msg::ClusterKeyT>());
      key->cluster_id = name == "models" ? kCluster : kCluster + 1;
      key->name = name;
      key->current.assign(kToken.begin(), kToken.end());
      key->namespace_epoch = 1;
    }
    keys->capability_key.assign(kCapabilityKey.begin(), kCapabilityKey.end());
    keys->capability_key_previous.assign(kPreviousCapabilityKey.begin(),
                                         kPreviousCapabilityKey.end());
    return keys;
  }
  void answer(TestPeer& peer, const Message& message) {
    if (message.type == static_cast<uint16_t>(msg::Type::heartbeat)) {
      ++heartbeats;
      msg::HeartbeatReplyT reply;
      reply.lease_ms = lease_ms;
      return reply_body(*peer.session, msg::Type::heartbeat, message.request_id, pack_body(reply));
    }
    ASSERT_EQ(message.type, static_cast<uint16_t>(msg::Type::register_server));
    const auto* body = open_body<msg::RegisterServer>(message.body);
    auto& seen = addresses_seen.emplace_back();
    if (body->info()->addresses() != nullptr) {
      for (const auto* address : *body->info()->addresses()) seen.emplace_back(text_of(address));
    }
    msg::RegisterServerReplyT reply;
    renewals_asked += body->renew_capabilities();
    if (body->inode_ends_wanted()) {
      EXPECT_TRUE(seen.empty());
      ++inode_ends_asked;
      reply.inode_ends = inode_ends;
    }
    reply.server_id = 1;
    reply.lease_ms = lease_ms;
    reply.groups.push_back(std::make_unique<msg::GroupInfoT>());
    reply.groups[0]->epoch = 1;
    reply.keys = cluster_keys();
    reply_body(*peer.session, msg::Type::register_server, message.request_id, pack_body(reply));
  }

  ServerOptions options() {
    ServerOptions options;
    options.incarnation = 11;
    options.deployment_secret = kSecret;
    options.controllers = {"tcp://others:7527"};
    options.listen = {"tcp://server0:7528"};
    return options;
  }
  void start_server(const ServerOptions& with) {
    server.emplace(loop, store, fabric, Random(1), with);
    server->start();
  }
  bool until(const std::function<bool()>& predicate) {
    return world.run_until(predicate, 60 * kSecond);
  }
  void start_serving() {
    start_server(options());
    ASSERT_TRUE(until([&] { return server->serving(); }));
  }

  Status connect(TestPeer& client, const std::string& cluster, const std::string& token = kToken) {
    ConnectOptions options;
    options.address = "tcp://server0:7528";
    options.cluster = cluster;
    options.key = token;
    options.incarnation = 99;
    options.events = &client;
    Connected out;
    other_loop.spawn(run_connect(&other_fabric, options, &out));
    EXPECT_TRUE(until([&] { return out.has_value(); }));
    if (!out->has_value()) return out->error();
    client.attach(other_loop, std::move(**out));
    return {};
  }
  static Task<void> run_call(Calls* calls, msg::Type type, std::vector<std::byte> body,
                             std::optional<Result<CallReply>>* out) {
    auto reply = co_await calls->call(type, std::move(body), 5 * kSecond);
    out->emplace(std::move(reply));
  }
  template <class Object>
  Result<CallReply> ask(TestPeer& peer, msg::Type type, const Object& object) {
    std::optional<Result<CallReply>> out;
    other_loop.spawn(run_call(peer.calls.get(), type, pack_body(object), &out));
    EXPECT_TRUE(until([&] { return out.has_value(); }));
    return std::move(*out);
  }
  // A read of a hole: needs no window.
  Status read_hole(TestPeer& client, const std::string& key = kCapabilityKey) {
    Capability capability;
    capability.cluster_id = kCluster;
    capability.inode = kInode;
    capability.generation = 1;
    capability.expiry_us = world.clock().wall_us() + 60'000'000;
    capability.chunk_log2 = 22;
    capability.may_read = true;
    const SealedCapability sealed = seal_capability(capability, key);
    msg::BindHandleT bind;
    bind.handle = 1;
    bind.capability.resize(sealed.size());
    std::memcpy(bind.capability.data(), sealed.data(), sealed.size());
    const Status sent =
        client.session->send(static_cast<uint16_t>(msg::Type::bind_handle), 0, pack_body(bind));
    if (!sent.ok()) return sent;
    msg::ReadT read;
    read.handle = 1;
    read.generation = 1;
    read.namespace_epoch = 1;
    read.epoch = 1;
    read.pieces = {{0, 0, 0, 4096, 0}};
    auto reply = ask(client, msg::Type::read, read);
    return reply.has_value() ? Status() : reply.error();
  }
};

TEST_F(ServerTest, it_fetches_the_keys_then_listens_and_tells_its_address) {
  start_serving();
  ASSERT_EQ(addresses_seen.size(), 2u);
  EXPECT_TRUE(addresses_seen[0].empty());
  EXPECT_EQ(addresses_seen[1], std::vector<std::string>{"tcp://server0:7528"});
  TestPeer client;
  ASSERT_EQ(connect(client, "models"), Status());
  EXPECT_EQ(read_hole(client), Status());
  TestPeer stranger;
  EXPECT_TRUE(connect(stranger, "models", std::string(32, 'x')).is(StatusCode::denied));
  EXPECT_TRUE(connect(stranger, "nowhere").is(StatusCode::denied));
}

TEST_F(ServerTest, drives_are_forgotten_before_anybody_can_connect) {
  store.to_forget = true;
  inode_ends = {500, 600};
  start_serving();
  EXPECT_EQ(store.inode_ends_seen, inode_ends);
  EXPECT_FALSE(store.to_forget);
  EXPECT_EQ(inode_ends_asked, 1);  // with the registration that names no address yet
}

// Their fences may have been on a drive that is missing.
TEST_F(ServerTest, capabilities_of_before_a_start_that_does_not_know_all_fences_are_stale) {
  store.unsure = true;
  start_serving();
  EXPECT_EQ(renewals_asked, 1);  // before anybody can connect, not each time
  TestPeer client;
  ASSERT_EQ(connect(client, "models"), Status());
  EXPECT_EQ(read_hole(client), Status());
  TestPeer late;
  ASSERT_EQ(connect(late, "models"), Status());
  EXPECT_TRUE(read_hole(late, kPreviousCapabilityKey).is(StatusCode::stale));
  // And what a new one says of its inode is a fence that the store may not know.
  EXPECT_EQ(store.reached_seen, (std::map<uint64_t, uint64_t>{{kInode, 1}}));
}

TEST_F(ServerTest, capabilities_of_before_an_ordinary_start_are_good) {
  start_serving();
  EXPECT_EQ(renewals_asked, 0);
  TestPeer client;
  ASSERT_EQ(connect(client, "models"), Status());
  EXPECT_EQ(read_hole(client, kPreviousCapabilityKey), Status());
  EXPECT_TRUE(store.reached_seen.empty());
}

TEST_F(ServerTest, it_serves_nothing_before_a_lease_comes_with_a_heartbeat) {
  lease_ms = 0;
  start_server(options());
  ASSERT_TRUE(until([&] { return heartbeats > 3; }));
  EXPECT_FALSE(server->serving());
  TestPeer client;
  ASSERT_EQ(connect(client, "models"), Status());
  EXPECT_TRUE(read_hole(client).is(StatusCode::unavailable));
  msg::FenceT fence;
  fence.inode = kInode;
  fence.generation = 2;
  fence.keep_bytes = 4096;
  fence.chunk_log2 = 22;
  ASSERT_TRUE(ask(registered.back(), msg::Type::fence, fence).has_value());
  ASSERT_EQ(store.fences_seen.size(), 1u);
  EXPECT_EQ(store.fences_seen[0].keep_bytes, 4096u);
  lease_ms = 5000;
  ASSERT_TRUE(until([&] { return server->serving(); }));
  EXPECT_TRUE(read_hole(client).is(StatusCode::stale));  // of generation 1
}

TEST_F(ServerTest, the_lease_counts_from_when_it_was_asked_for_and_ends_without_a_controller) {
  start_serving();
  const uint64_t heartbeats_before = heartbeats;
  ASSERT_TRUE(until([&] { return heartbeats > heartbeats_before; }));
  const uint64_t received_ns = world.clock().now_ns();
  network.partition_both("server0", "others");
  ASSERT_TRUE(until([&] { return !server->serving(); }));
  EXPECT_LE(world.clock().now_ns(), received_ns + 5 * kSecond);
  network.heal_all();
  EXPECT_TRUE(until([&] { return server->serving(); }));
  EXPECT_GT(server->counters().registrations_total, 2u);
}

TEST_F(ServerTest, a_controller_that_comes_back_is_found_again) {
  start_serving();
  controller.reset();
  for (TestPeer& peer : registered) peer.session->close(Status(StatusCode::unavailable, "restart"));
  EXPECT_FALSE(world.run_until([&] { return !server->serving(); }, 3 * kSecond));
  ASSERT_TRUE(until([&] { return !server->serving(); }));
  start_controller();
  EXPECT_TRUE(until([&] { return server->serving(); }));
}

TEST_F(ServerTest, a_wrong_secret_is_fatal_and_said) {
  ServerOptions with = options();
  with.deployment_secret = std::string(32, 'x');
  start_server(with);
  ASSERT_TRUE(until([&] { return !server->fatal().ok(); }));
  EXPECT_TRUE(server->fatal().is(StatusCode::denied));
}

TEST_F(ServerTest, new_clusters_may_connect_and_sessions_of_removed_ones_are_closed) {
  start_serving();
  TestPeer old_client;
  TestPeer new_client;
  ASSERT_EQ(connect(old_client, "models"), Status());
  EXPECT_TRUE(connect(new_client, "kv").is(StatusCode::denied));
  clusters = {"kv"};
  ASSERT_TRUE(ask(registered.back(), msg::Type::cluster_keys, *cluster_keys()).has_value());
  EXPECT_EQ(connect(new_client, "kv"), Status());
  EXPECT_TRUE(until([&] { return old_client.closed.has_value(); }));
}

TEST_F(ServerTest, a_namespace_fence_makes_older_requests_stale_without_touching_a_drive) {
  start_serving();
  TestPeer client;
  ASSERT_EQ(connect(client, "models"), Status());
  msg::FenceT fence;
  fence.cluster_id = kCluster;
  fence.namespace_epoch = 2;
  ASSERT_TRUE(ask(registered.back(), msg::Type::fence, fence).has_value());
  EXPECT_TRUE(read_hole(client).is(StatusCode::stale));
  EXPECT_TRUE(store.fences_seen.empty());
}

TEST_F(ServerTest, a_fence_that_the_store_cannot_keep_is_not_acknowledged) {
  start_serving();
  store.fence_status = Status(StatusCode::io, "tombstone log");
  msg::FenceT fence;
  fence.inode = kInode;
  fence.generation = 2;
  fence.chunk_log2 = 22;
  EXPECT_TRUE(ask(registered.back(), msg::Type::fence, fence).error().is(StatusCode::io));
  fence.chunk_log2 = 99;
  EXPECT_TRUE(ask(registered.back(), msg::Type::fence, fence).error().is(StatusCode::invalid));
}

TEST_F(ServerTest, status_scrub_and_evict_are_answered) {
  start_serving();
  auto status = ask(registered.back(), msg::Type::server_status, msg::ServerStatusRequestT{});
  ASSERT_TRUE(status.has_value());
  const auto* counters = status->open<msg::ServerStatusReply>()->counters();
  ASSERT_NE(counters, nullptr);
  EXPECT_EQ(text_of(counters->Get(0)->name()), "gd2fs_server_leased");
  EXPECT_EQ(counters->Get(0)->value(), 1.0);

  msg::ServerEvictT evict;
  evict.inode = kInode;
  ASSERT_TRUE(ask(registered.back(), msg::Type::server_evict, evict).has_value());
  EXPECT_EQ(store.evicted, std::vector<uint64_t>{kInode});

  msg::ServerPinT pin;
  pin.inode = kInode;
  pin.pinned = true;
  pin.size_bytes = 5;
  pin.stamp_us = 7;
  ASSERT_TRUE(ask(registered.back(), msg::Type::server_pin, pin).has_value());
  ASSERT_EQ(store.pins.size(), 1u);
  EXPECT_TRUE(store.pins[0].pinned && store.pins[0].told && store.pins[0].size_bytes == 5);
  store.pin_status = Status(StatusCode::no_space, "too much");
  EXPECT_EQ(ask(registered.back(), msg::Type::server_pin, pin).error(), store.pin_status);

  msg::ScrubT scrub;
  scrub.status_only = true;
  auto reply = ask(registered.back(), msg::Type::server_scrub, scrub);
  EXPECT_FALSE(reply->open<msg::ScrubReply>()->running());
  scrub.status_only = false;
  scrub.rate_bytes_per_s = 1000;
  reply = ask(registered.back(), msg::Type::server_scrub, scrub);
  EXPECT_TRUE(reply->open<msg::ScrubReply>()->running());
  EXPECT_EQ(store.scrub_rate, 1000u);
  world.run_for_ns(2 * kSecond);
  scrub.status_only = true;
  reply = ask(registered.back(), msg::Type::server_scrub, scrub);
  EXPECT_FALSE(reply->open<msg::ScrubReply>()->running());
  EXPECT_EQ(reply->open<msg::ScrubReply>()->corrupt_blocks(), 1u);
  EXPECT_GT(reply->open<msg::ScrubReply>()->finished_us(), 0u);
  EXPECT_EQ(reply->open<msg::ScrubReply>()->findings()->size(), 1u);

  EXPECT_TRUE(ask(registered.back(), msg::Type::lookup, msg::LookupT{})
                  .error()
                  .is(StatusCode::unsupported));
}

TEST_F(ServerTest, stop_closes_everything_and_waits_for_what_the_store_has_begun) {
  start_serving();
  TestPeer client;
  ASSERT_EQ(connect(client, "models"), Status());
  EXPECT_EQ(read_hole(client), Status());
  store.auto_read = false;
  std::optional<Result<CallReply>> out;
  msg::ReadT read;
  read.handle = 1;
  read.generation = 1;
  read.namespace_epoch = 1;
  read.epoch = 1;
  read.pieces = {{0, 0, 0, 4096, 0}};
  other_loop.spawn(run_call(client.calls.get(), msg::Type::read, pack_body(read), &out));
  ASSERT_TRUE(until([&] { return !store.reads.empty(); }));
  bool stopped = false;
  loop.spawn([](Server* which, bool* done) -> Task<void> {
    co_await which->stop();
    *done = true;
  }(&*server, &stopped));
  EXPECT_FALSE(world.run_until([&] { return stopped; }, 2 * kSecond));
  EXPECT_FALSE(server->serving());
  store.finish_read();
  EXPECT_TRUE(until([&] { return stopped && out.has_value(); }));
  EXPECT_TRUE(out->error().is(StatusCode::unavailable));
  EXPECT_EQ(server->counters().sessions, 0u);
}

}  // namespace
}  // namespace gd2fs::server
