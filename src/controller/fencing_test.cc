#include "controller/fencing.h"

#include "controller/controller_fixture.h"

namespace gd2fs::controller {
namespace {

struct FencingTest : ControllerFixture {
  TestPeer* peer = nullptr;

  FencingTest() {
    make_cluster("kv");
    peer = &client("kv");
  }
  void need(const std::string& path) { ASSERT_EQ(create(*peer, path), Status()); }
  auto send_unlink(const std::string& path) {
    return send(*peer, msg::Type::unlink, unlink_of(path));
  }
};

TEST_F(FencingTest, an_unlink_is_acknowledged_only_when_its_fence_is_durable) {
  TestServer& server = start_server();
  need("/a");
  const uint64_t inode = lookup(*peer, "/a")->inode;
  server.hold_fences = true;
  auto unlink = send_unlink("/a");
  ASSERT_TRUE(until([&] { return !server.unanswered.empty(); }));
  EXPECT_FALSE(until([&] { return unlink->answered(); }, kSecond));
  EXPECT_EQ(server.fences.back().inode, inode);
  EXPECT_TRUE(server.fences.back().unlinked);
  EXPECT_EQ(server.fences.back().keep_bytes, 0u);
  server.answer_fences();
  ASSERT_TRUE(until([&] { return unlink->answered(); }));
  EXPECT_TRUE(unlink->reply->has_value());
  world.run_for_ns(kSecond);
  EXPECT_TRUE(wait(loop, controller->names().pending_intents({}))->empty());
}

TEST_F(FencingTest, nobody_learns_of_an_unlink_before_it_is_settled) {
  TestServer& server = start_server();
  need("/a");
  server.hold_fences = true;
  auto unlink = send_unlink("/a");
  ASSERT_TRUE(until([&] { return !server.unanswered.empty(); }));
  msg::LookupT lookup;
  lookup.path = "/a";
  auto looked = send(*peer, msg::Type::lookup, lookup);
  EXPECT_FALSE(until([&] { return looked->answered(); }, kSecond / 2));
  server.answer_fences();
  ASSERT_TRUE(until([&] { return looked->answered(); }));
  EXPECT_TRUE((*looked->reply).error().is(StatusCode::not_found));
  EXPECT_TRUE(unlink->answered());
  // And when it takes too long: busy, so that the client may give up.
  need("/b");
  unlink = send_unlink("/b");
  ASSERT_TRUE(until([&] { return !server.unanswered.empty(); }));
  lookup.path = "/b";
  EXPECT_TRUE(status_of(*peer, msg::Type::lookup, lookup).is(StatusCode::busy));
}

TEST_F(FencingTest, a_directory_rename_raises_the_namespace_epoch_at_the_servers) {
  TestServer& server = start_server();
  msg::MkdirT mkdir;
  mkdir.path = "/d";
  mkdir.tag = tag();
  ASSERT_EQ(status_of(*peer, msg::Type::mkdir, mkdir), Status());
  msg::RenameT rename;
  rename.from = "/d";
  rename.to = "/e";
  rename.tag = tag();
  ASSERT_EQ(status_of(*peer, msg::Type::rename, rename), Status());
  ASSERT_EQ(server.fences.size(), 1u);
  EXPECT_EQ(server.fences[0].generation, 0u);
  EXPECT_GT(server.fences[0].namespace_epoch, 1u);
  EXPECT_EQ(server.fences[0].cluster_id, controller->clusters().find("kv")->id);
}

TEST_F(FencingTest, a_silent_server_is_waited_for_until_its_lease_has_surely_ended) {
  TestServer& server = start_server();
  need("/a");
  ASSERT_EQ(heartbeat(server), 5000u);
  const uint64_t granted_ns = world.clock().now_ns();
  server.session->close(Status(StatusCode::unavailable, "gone"));
  auto unlink = send_unlink("/a");
  ASSERT_TRUE(until([&] { return unlink->answered(); }));
  EXPECT_TRUE(unlink->reply->has_value());
  EXPECT_GE(world.clock().now_ns(), granted_ns + 5 * kSecond);
  EXPECT_LE(world.clock().now_ns(), granted_ns + 6 * kSecond);
  // Settled, but still owed: the name is free, the intent is there.
  EXPECT_EQ(create(*peer, "/a"), Status());
  auto pending = wait(loop, controller->names().pending_intents({}));
  ASSERT_EQ(pending->size(), 1u);
  EXPECT_TRUE((*pending)[0].settled);
}

TEST_F(FencingTest, a_server_that_returns_gets_no_lease_before_it_has_caught_up) {
  TestServer& gone = start_server();
  for (int i = 0; i < 5; ++i) need("/a" + std::to_string(i));
  gone.session->close(Status(StatusCode::unavailable, "gone"));
  world.run_for_ns(6 * kSecond);
  for (int i = 0; i < 5; ++i) {
    auto unlink = send_unlink("/a" + std::to_string(i));
    ASSERT_TRUE(until([&] { return unlink->answered(); }));
  }
  TestServer& back = servers.emplace_back();
  back.hold_fences = true;
  ASSERT_EQ(connect(back, PeerRole::server, "", kSecret), Status());
  EXPECT_EQ(register_server(back, 2)->lease_ms, 0u);
  EXPECT_EQ(heartbeat(back, 2), 0u);
  ASSERT_TRUE(until([&] { return back.unanswered.size() == 5; }));
  EXPECT_EQ(heartbeat(back, 2), 0u);
  back.hold_fences = false;
  back.answer_fences();
  ASSERT_TRUE(until([&] { return heartbeat(back, 2) == 5000; }));
  EXPECT_EQ(back.fences.size(), 5u);
  EXPECT_TRUE(wait(loop, controller->names().pending_intents({}))->empty());
}

TEST_F(FencingTest, a_fence_made_while_a_server_catches_up_reaches_it_before_the_acknowledgement) {
  TestServer& gone = start_server();
  need("/a");
  need("/b");
  gone.session->close(Status(StatusCode::unavailable, "gone"));
  world.run_for_ns(6 * kSecond);
  auto first = send_unlink("/a");
  ASSERT_TRUE(until([&] { return first->answered(); }));
  TestServer& back = servers.emplace_back();
  back.hold_fences = true;
  ASSERT_EQ(connect(back, PeerRole::server, "", kSecret), Status());
  ASSERT_TRUE(register_server(back, 2).has_value());
  ASSERT_TRUE(until([&] { return back.unanswered.size() == 1; }));
  auto second = send_unlink("/b");
  EXPECT_FALSE(until([&] { return second->answered(); }, kSecond));
  back.hold_fences = false;
  back.answer_fences();
  ASSERT_TRUE(until([&] { return second->answered(); }));
  EXPECT_TRUE(second->reply->has_value());
  const uint64_t inode_b = back.fences.back().inode;
  EXPECT_NE(inode_b, back.fences.front().inode);
}

TEST_F(FencingTest, an_expired_lease_is_not_renewed_over_a_fence_that_was_settled_without_it) {
  TestServer& stopped = start_server();  // stays connected, as a stopped process does
  need("/a");
  stopped.handler = [](const Message&) {};
  auto unlink = send_unlink("/a");
  ASSERT_TRUE(until([&] { return unlink->answered(); }));
  EXPECT_TRUE(unlink->reply->has_value());
  EXPECT_EQ(wait(loop, controller->names().pending_intents({}))->size(), 1u);
  // The controller ended the session; what the server says there reaches nobody.
  EXPECT_TRUE(until([&] { return stopped.closed.has_value(); }));
}

TEST_F(FencingTest, a_server_that_cannot_keep_fences_loses_its_lease_and_holds_up_nobody_for_ever) {
  TestServer& server = start_server();
  need("/a");
  server.fence_status = Status(StatusCode::io, "tombstone log");
  auto unlink = send_unlink("/a");
  uint64_t last_lease_ns = 0;
  while (!unlink->answered()) {
    if (!server.closed.has_value() && heartbeat(server) == 5000) {
      last_lease_ns = world.clock().now_ns();
    }
    world.run_for_ns(kSecond / 2);
    ASSERT_LT(world.clock().now_ns(), 60 * kSecond);
  }
  EXPECT_TRUE(unlink->reply->has_value());
  EXPECT_TRUE(server.closed.has_value());
  EXPECT_GE(world.clock().now_ns(), last_lease_ns + 5 * kSecond);
}

TEST_F(FencingTest, a_restarted_controller_lets_a_whole_lease_pass_and_ends_what_was_pending) {
  TestServer& server = start_server();
  need("/a");
  server.hold_fences = true;
  const msg::UnlinkT request = unlink_of("/a");
  auto unlink = send(*peer, msg::Type::unlink, request);
  ASSERT_TRUE(until([&] { return !server.unanswered.empty(); }));
  restart_controller();
  const uint64_t restarted_ns = world.clock().now_ns();
  EXPECT_EQ(wait(loop, controller->names().pending_intents({}))->size(), 1u);
  TestPeer& again = client("kv");
  msg::UnlinkT retry;
  retry.path = request.path;
  retry.tag = std::make_unique<msg::Tag>(*request.tag);
  unlink = send(again, msg::Type::unlink, retry);
  ASSERT_TRUE(until([&] { return unlink->answered(); }));
  EXPECT_TRUE(unlink->reply->has_value());
  EXPECT_GE(world.clock().now_ns(), restarted_ns + 5 * kSecond);
  // Without anybody asking, too.
  EXPECT_TRUE(until([&] {
    const auto pending = wait(loop, controller->names().pending_intents({}));
    return pending->size() == 1 && (*pending)[0].settled;
  }));
}

TEST_F(FencingTest, without_any_server_ever_nothing_waits) {
  need("/a");
  auto unlink = send_unlink("/a");
  EXPECT_TRUE(until([&] { return unlink->answered(); }, kSecond));
}

// --- membership ---

TEST_F(FencingTest, the_groups_epoch_grows_with_each_incarnation_and_survives_a_restart) {
  TestServer& first = servers.emplace_back();
  ASSERT_EQ(connect(first, PeerRole::server, "", kSecret), Status());
  const uint64_t epoch = register_server(first, 1)->groups[0]->epoch;
  EXPECT_EQ(register_server(first, 1)->groups[0]->epoch, epoch);
  const uint64_t version = controller->membership().map_version();
  TestServer& second = servers.emplace_back();
  ASSERT_EQ(connect(second, PeerRole::server, "", kSecret), Status());
  EXPECT_TRUE(register_server(second, 2).error().is(StatusCode::busy));  // the first one serves
  first.session->close(Status(StatusCode::unavailable, "gone"));
  ASSERT_TRUE(until([&] { return !controller->membership().find(1)->connected(); }));
  EXPECT_EQ(register_server(second, 2)->groups[0]->epoch, epoch + 1);
  EXPECT_GT(controller->membership().map_version(), version);
  restart_controller();
  EXPECT_EQ(controller->membership().group().epoch, epoch + 1);
  TestServer& third = servers.emplace_back();
  ASSERT_EQ(connect(third, PeerRole::server, "", kSecret), Status());
  EXPECT_EQ(register_server(third, 3)->groups[0]->epoch, epoch + 2);
}

TEST_F(FencingTest, foreign_servers_are_refused) {
  TestServer& server = start_server();
  TestServer& other = servers.emplace_back();
  ASSERT_EQ(connect(other, PeerRole::server, "", kSecret), Status());
  EXPECT_TRUE(register_server(other, 2, 2).error().is(StatusCode::unsupported));
  EXPECT_EQ(heartbeat(server), 5000u);
  EXPECT_EQ(heartbeat(server, 77), UINT32_MAX);
  msg::RegisterServerT request;
  request.info = std::make_unique<msg::ServerInfoT>();
  request.info->incarnation = 5;
  request.deployment_id = kDeployment + 1;
  EXPECT_FALSE(ask(other, msg::Type::register_server, request).has_value());
}

}  // namespace
}  // namespace gd2fs::controller
