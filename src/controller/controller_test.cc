#include "controller/controller.h"

#include "controller/controller_fixture.h"
#include "wire/capability.h"

namespace gd2fs::controller {
namespace {

using ControllerTest = ControllerFixture;

TEST_F(ControllerTest, names_are_served_over_the_wire) {
  make_cluster("kv");
  start_server();
  TestPeer& peer = client("kv");
  msg::MkdirT mkdir;
  mkdir.path = "/d";
  mkdir.tag = tag();
  EXPECT_EQ(status_of(peer, msg::Type::mkdir, mkdir), Status());
  EXPECT_EQ(create(peer, "/d/a"), Status());
  EXPECT_TRUE(create(peer, "/d/a").is(StatusCode::exists));

  auto info = lookup(peer, "/d/a");
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->type, msg::FileType::file);
  EXPECT_EQ(info->size_bytes, 0u);
  msg::ReserveT reserve;
  reserve.inode = info->inode;
  reserve.generation = info->generation;
  reserve.end_bytes = 5000;
  EXPECT_EQ(status_of(peer, msg::Type::reserve, reserve), Status());
  msg::SetSizeT set_size;
  set_size.inode = info->inode;
  set_size.generation = info->generation;
  set_size.end_bytes = 5000;
  EXPECT_EQ(status_of(peer, msg::Type::set_size, set_size), Status());
  EXPECT_EQ(lookup(peer, "/d/a")->size_bytes, 5000u);

  msg::TruncateT truncate;
  truncate.path = "/d/a";
  truncate.size_bytes = 100;
  truncate.tag = tag();
  EXPECT_EQ(status_of(peer, msg::Type::truncate, truncate), Status());
  const auto cut = lookup(peer, "/d/a");
  EXPECT_EQ(cut->size_bytes, 100u);
  EXPECT_GT(cut->generation, info->generation);

  msg::RenameT rename;
  rename.from = "/d/a";
  rename.to = "/d/b";
  rename.tag = tag();
  EXPECT_EQ(status_of(peer, msg::Type::rename, rename), Status());
  EXPECT_TRUE(lookup(peer, "/d/a").error().is(StatusCode::not_found));

  msg::ReaddirT readdir;
  readdir.path = "/d";
  auto page = ask(peer, msg::Type::readdir, readdir);
  ASSERT_TRUE(page.has_value());
  const auto* entries = page->open<msg::ReaddirReply>()->entries();
  ASSERT_EQ(entries->size(), 1u);
  EXPECT_EQ(text_of(entries->Get(0)->name()), "b");
  EXPECT_EQ(entries->Get(0)->size_bytes(), 100u);

  msg::UsageT usage;
  usage.path = "/";
  auto used = ask(peer, msg::Type::usage, usage);
  EXPECT_EQ(used->open<msg::UsageReply>()->files(), 1u);
  EXPECT_EQ(used->open<msg::UsageReply>()->directories(), 1u);

  EXPECT_EQ(status_of(peer, msg::Type::unlink, unlink_of("/d/b")), Status());
  msg::RmdirT rmdir;
  rmdir.path = "/d";
  rmdir.tag = tag();
  EXPECT_EQ(status_of(peer, msg::Type::rmdir, rmdir), Status());
  EXPECT_TRUE(lookup(peer, "/d").error().is(StatusCode::not_found));
}

TEST_F(ControllerTest, a_lookup_carries_a_capability_that_the_servers_key_opens) {
  make_cluster("kv");
  TestServer& server = servers.emplace_back();
  ASSERT_EQ(connect(server, PeerRole::server, "", kSecret), Status());
  const auto registered = register_server(server, 1);
  ASSERT_TRUE(registered.has_value());
  const std::string key(registered->keys->capability_key.begin(),
                        registered->keys->capability_key.end());
  TestPeer& peer = client("kv");
  ASSERT_EQ(create(peer, "/a"), Status());
  const auto info = lookup(peer, "/a");
  const auto opened =
      open_capability(as_bytes(info->capability.data(), info->capability.size()), key, "");
  ASSERT_TRUE(opened.has_value()) << opened.error().to_string();
  EXPECT_EQ(opened->inode, info->inode);
  EXPECT_EQ(opened->generation, info->generation);
  EXPECT_EQ(opened->cluster_id, registered->keys->keys[0]->cluster_id);
  EXPECT_EQ(opened->chunk_log2, info->chunk_log2);
  EXPECT_TRUE(opened->may_read && opened->may_write);
  EXPECT_GT(opened->expiry_us, world.clock().wall_us());
}

TEST_F(ControllerTest, a_server_that_asks_is_told_where_the_inodes_end) {
  make_cluster("kv");
  TestServer& server = start_server();
  TestPeer& peer = client("kv");
  ASSERT_EQ(create(peer, "/a"), Status());
  msg::RegisterServerT request;
  request.info = std::make_unique<msg::ServerInfoT>();
  request.info->server_id = 1;
  request.info->incarnation = 1;
  request.deployment_id = kDeployment;
  for (const bool wanted : {false, true}) {
    request.inode_ends_wanted = wanted;
    auto reply = ask(server, msg::Type::register_server, request);
    ASSERT_TRUE(reply.has_value());
    msg::RegisterServerReplyT got;
    reply->open<msg::RegisterServerReply>()->UnPackTo(&got);
    ASSERT_EQ(got.inode_ends.size(), wanted ? 1u : 0u);
    if (!wanted) continue;
    EXPECT_LT(lookup(peer, "/a")->inode, got.inode_ends[0]);
    ASSERT_EQ(create(peer, "/b"), Status());
    EXPECT_GE(lookup(peer, "/b")->inode, got.inode_ends[0]);
  }
}

TEST_F(ControllerTest, a_server_that_asks_has_all_capabilities_signed_anew) {
  make_cluster("kv");
  TestServer& server = start_server();
  TestPeer& peer = client("kv");
  ASSERT_EQ(create(peer, "/a"), Status());
  const auto before = lookup(peer, "/a")->capability;
  msg::RegisterServerT request;
  request.info = std::make_unique<msg::ServerInfoT>();
  request.info->server_id = 1;
  request.info->incarnation = 1;
  request.deployment_id = kDeployment;
  request.renew_capabilities = true;
  auto reply = ask(server, msg::Type::register_server, request);
  ASSERT_TRUE(reply.has_value());
  msg::RegisterServerReplyT got;
  reply->open<msg::RegisterServerReply>()->UnPackTo(&got);
  const std::string key(got.keys->capability_key.begin(), got.keys->capability_key.end());
  const auto opens = [&](const std::vector<uint8_t>& capability) {
    return open_capability(as_bytes(capability.data(), capability.size()), key, "").has_value();
  };
  EXPECT_FALSE(opens(before));
  EXPECT_TRUE(opens(lookup(peer, "/a")->capability));
}

TEST_F(ControllerTest, a_client_reaches_only_the_inodes_of_its_own_cluster) {
  make_cluster("kv");
  make_cluster("models");
  TestPeer& one = client("kv");
  TestPeer& other = client("models");
  ASSERT_EQ(create(one, "/a"), Status());
  EXPECT_TRUE(lookup(other, "/a").error().is(StatusCode::not_found));
  const auto info = lookup(one, "/a");
  msg::SetSizeT set_size;
  set_size.inode = info->inode;
  set_size.generation = info->generation;
  set_size.end_bytes = 1;
  EXPECT_TRUE(status_of(other, msg::Type::set_size, set_size).is(StatusCode::denied));
  msg::ReserveT reserve;
  reserve.inode = info->inode;
  reserve.generation = info->generation;
  EXPECT_TRUE(status_of(other, msg::Type::reserve, reserve).is(StatusCode::denied));
}

TEST_F(ControllerTest, roles_are_kept_apart_and_unknown_operations_are_unsupported) {
  make_cluster("kv");
  TestPeer& peer = client("kv");
  TestPeer& boss = admin();
  EXPECT_TRUE(
      status_of(peer, msg::Type::cluster_create, msg::ClusterCreateT{}).is(StatusCode::denied));
  EXPECT_TRUE(
      status_of(peer, msg::Type::register_server, msg::RegisterServerT{}).is(StatusCode::denied));
  EXPECT_TRUE(status_of(boss, msg::Type::lookup, msg::LookupT{}).is(StatusCode::denied));
  EXPECT_TRUE(status_of(peer, msg::Type::read, msg::ReadT{}).is(StatusCode::unsupported));
  EXPECT_TRUE(
      status_of(peer, static_cast<msg::Type>(999), msg::ReadT{}).is(StatusCode::unsupported));
  TestPeer stranger;
  EXPECT_TRUE(connect(stranger, PeerRole::admin, "", std::string(32, 'x')).is(StatusCode::denied));
  EXPECT_TRUE(connect(stranger, PeerRole::client, "nowhere", kSecret).is(StatusCode::denied));
}

TEST_F(ControllerTest, a_malformed_body_closes_the_session_and_a_missing_tag_is_invalid) {
  make_cluster("kv");
  TestPeer& peer = client("kv");
  msg::UnlinkT unlink;
  unlink.path = "/a";
  EXPECT_TRUE(status_of(peer, msg::Type::unlink, unlink).is(StatusCode::invalid));
  EXPECT_TRUE(peer.session->open());
  const std::vector<std::byte> noise(64, std::byte{0xFF});
  ASSERT_EQ(peer.session->send(static_cast<uint16_t>(msg::Type::lookup), 99, noise), Status());
  EXPECT_TRUE(until([&] { return peer.closed.has_value(); }));
}

TEST_F(ControllerTest, too_many_requests_of_one_session_are_busy_and_others_are_served) {
  session_requests_max = 2;
  restart_controller();
  make_cluster("kv");
  TestServer& server = start_server();
  TestPeer& greedy = client("kv");
  TestPeer& modest = client("kv");
  ASSERT_EQ(create(greedy, "/a"), Status());
  ASSERT_EQ(create(greedy, "/b"), Status());
  server.hold_fences = true;
  auto first = send(greedy, msg::Type::unlink, unlink_of("/a"));
  auto second = send(greedy, msg::Type::unlink, unlink_of("/b"));
  ASSERT_TRUE(until([&] { return server.unanswered.size() == 2; }));
  EXPECT_TRUE(create(greedy, "/c").is(StatusCode::busy));
  EXPECT_EQ(create(modest, "/c"), Status());
  server.answer_fences();
  ASSERT_TRUE(until([&] { return first->answered() && second->answered(); }));
  EXPECT_EQ(create(greedy, "/d"), Status());
}

TEST_F(ControllerTest, clusters_are_made_rotated_and_removed_and_servers_know_before_the_answer) {
  TestServer& server = start_server();
  TestPeer& boss = admin();
  msg::ClusterCreateT create;
  create.name = "kv";
  create.policy = std::make_unique<msg::ClusterPolicyT>();
  create.policy->quota_bytes = 1 << 20;
  create.tag = tag();
  server.hold_keys = true;
  auto asked = send(boss, msg::Type::cluster_create, create);
  ASSERT_TRUE(until([&] { return server.keys_messages > 0; }));
  EXPECT_FALSE(until([&] { return asked->answered(); }, kSecond));
  server.hold_keys = false;
  ASSERT_TRUE(until([&] { return asked->answered(); }));
  ASSERT_TRUE((*asked->reply).has_value());
  const std::string token((*asked->reply)->open<msg::ClusterCreateReply>()->token()->str());
  ASSERT_EQ(server.keys.keys.size(), 1u);
  EXPECT_EQ(server.keys.keys[0]->name, "kv");
  EXPECT_EQ(secret_of_token(token),
            std::string(server.keys.keys[0]->current.begin(), server.keys.keys[0]->current.end()));
  TestPeer peer;
  EXPECT_EQ(connect(peer, PeerRole::client, "kv", secret_of_token(token)), Status());

  msg::TokenRotateT rotate;
  rotate.name = "kv";
  rotate.tag = tag();
  auto rotated = ask(boss, msg::Type::token_rotate, rotate);
  ASSERT_TRUE(rotated.has_value());
  const std::string fresh(rotated->open<msg::TokenRotateReply>()->token()->str());
  EXPECT_NE(fresh, token);
  TestPeer old_peer;
  TestPeer new_peer;
  EXPECT_EQ(connect(old_peer, PeerRole::client, "kv", secret_of_token(token)), Status());
  EXPECT_EQ(connect(new_peer, PeerRole::client, "kv", secret_of_token(fresh)), Status());
  EXPECT_EQ(server.keys.keys[0]->previous.size(), 32u);

  msg::ClusterPolicySetT policy;
  policy.name = "kv";
  policy.policy = std::make_unique<msg::ClusterPolicyT>();
  policy.policy->quota_bytes = 2 << 20;
  policy.policy->durability = "memory";
  policy.tag = tag();
  EXPECT_EQ(status_of(boss, msg::Type::cluster_policy, policy), Status());
  EXPECT_TRUE(server.keys.keys[0]->durability_memory);
  auto list = ask(boss, msg::Type::cluster_list, msg::ClusterListT{});
  const auto* clusters = list->open<msg::ClusterListReply>()->clusters();
  ASSERT_EQ(clusters->size(), 1u);
  EXPECT_EQ(clusters->Get(0)->policy()->quota_bytes(), 2u << 20);
  EXPECT_EQ(text_of(clusters->Get(0)->policy()->durability()), "memory");
  policy.policy->durability = "disk";
  policy.tag = tag();
  EXPECT_EQ(status_of(boss, msg::Type::cluster_policy, policy), Status());
  EXPECT_FALSE(server.keys.keys[0]->durability_memory);

  msg::ClusterRemoveT remove;
  remove.name = "kv";
  remove.tag = tag();
  EXPECT_EQ(status_of(boss, msg::Type::cluster_remove, remove), Status());
  EXPECT_TRUE(server.keys.keys.empty());
  EXPECT_TRUE(connect(peer, PeerRole::client, "kv", secret_of_token(fresh)).is(StatusCode::denied));
}

TEST_F(ControllerTest, a_pin_is_kept_told_to_the_servers_and_refused_where_they_have_no_room) {
  TestServer& server = start_server();
  make_cluster("kv");
  ASSERT_TRUE(until([&] { return server.keys_messages > 0; }));  // with the key of capabilities
  TestPeer& peer = client("kv");
  ASSERT_EQ(create(peer, "/a"), Status());
  msg::SetattrT setattr;
  setattr.path = "/a";
  setattr.pin = true;
  setattr.tag = tag();
  server.pin_status = Status(StatusCode::no_space, "600000 of the 524288 bytes");
  const Status refused = status_of(peer, msg::Type::setattr, setattr);
  EXPECT_TRUE(refused.is(StatusCode::no_space));
  EXPECT_NE(refused.text().find("600000"), std::string::npos);
  EXPECT_FALSE(lookup(peer, "/a")->pinned);
  EXPECT_FALSE(server.pins.back().pinned);  // taken back

  server.pin_status = Status();
  setattr.tag = tag();
  EXPECT_EQ(status_of(peer, msg::Type::setattr, setattr), Status());
  EXPECT_TRUE(server.pins.back().pinned);
  EXPECT_EQ(server.pins.back().inode, lookup(peer, "/a")->inode);
  EXPECT_TRUE(lookup(peer, "/a")->pinned);
  const auto info = lookup(peer, "/a");
  const std::string key(server.keys.capability_key.begin(), server.keys.capability_key.end());
  const ConstBytes sealed = as_bytes(info->capability.data(), info->capability.size());
  const auto capability = open_capability(sealed, key, "");
  ASSERT_TRUE(capability.has_value());
  EXPECT_TRUE(capability->pinned);
  EXPECT_LE(server.pins.back().stamp_us, capability->expiry_us);

  setattr.pin = false;
  setattr.tag = tag();
  EXPECT_EQ(status_of(peer, msg::Type::setattr, setattr), Status());
  EXPECT_FALSE(lookup(peer, "/a")->pinned);
  setattr.path = "/";
  setattr.tag = tag();
  EXPECT_EQ(status_of(peer, msg::Type::setattr, setattr).errno_value(), EISDIR);
}

TEST_F(ControllerTest, scrub_evict_status_and_map_ask_the_servers) {
  make_cluster("kv");
  TestServer& server = start_server();
  TestPeer& boss = admin();
  TestPeer& peer = client("kv");
  ASSERT_EQ(create(peer, "/a"), Status());
  server.scrubs_left = 3;
  msg::ScrubT scrub;
  scrub.wait = true;
  auto scrubbed = ask(boss, msg::Type::scrub, scrub);
  ASSERT_TRUE(scrubbed.has_value());
  EXPECT_FALSE(scrubbed->open<msg::ScrubReply>()->running());
  EXPECT_EQ(scrubbed->open<msg::ScrubReply>()->findings()->Get(0)->str(), "server 1: drive d0");

  msg::EvictT evict;
  evict.path = "/a";
  EXPECT_EQ(status_of(peer, msg::Type::evict, evict), Status());
  EXPECT_EQ(server.evicted.back(), lookup(peer, "/a")->inode);
  evict.path = "/";
  EXPECT_TRUE(status_of(peer, msg::Type::evict, evict).is(StatusCode::invalid));
  EXPECT_EQ(status_of(boss, msg::Type::evict, msg::EvictT{}), Status());
  EXPECT_EQ(server.evicted.back(), UINT64_MAX);

  auto status = ask(boss, msg::Type::deployment_status, msg::DeploymentStatusT{});
  ASSERT_TRUE(status.has_value());
  const auto* body = status->open<msg::DeploymentStatusReply>();
  EXPECT_EQ(body->deployment_id(), kDeployment);
  EXPECT_TRUE(body->servers()->Get(0)->info()->alive());
  EXPECT_EQ(body->servers()->Get(0)->counters()->Get(0)->value(), 3.0);
  EXPECT_EQ(body->clusters()->Get(0)->files(), 1u);

  auto map = ask(peer, msg::Type::cluster_map, msg::ClusterMapT{});
  const auto* reply = map->open<msg::ClusterMapReply>();
  EXPECT_EQ(text_of(reply->cluster()), "kv");
  EXPECT_EQ(reply->groups()->Get(0)->members()->Get(0), 1u);
  EXPECT_EQ(text_of(reply->servers()->Get(0)->addresses()->Get(0)), "tcp://server:7528");
  EXPECT_TRUE(reply->servers()->Get(0)->alive());
  world.run_for_ns(6 * kSecond);  // no heartbeat
  map = ask(peer, msg::Type::cluster_map, msg::ClusterMapT{});
  EXPECT_FALSE(map->open<msg::ClusterMapReply>()->servers()->Get(0)->alive());
}

TEST_F(ControllerTest, metadata_is_dumped_page_by_page_and_loaded_into_an_empty_deployment) {
  make_cluster("kv");
  TestPeer& peer = client("kv");
  for (int i = 0; i < 30; ++i) ASSERT_EQ(create(peer, "/f" + std::to_string(i)), Status());
  TestPeer& boss = admin();
  std::vector<std::string> lines;
  msg::MetaDumpT dump;
  dump.limit = 7;
  for (bool more = true; more;) {
    auto reply = ask(boss, msg::Type::meta_dump, dump);
    ASSERT_TRUE(reply.has_value()) << reply.error().to_string();
    const auto* page = reply->open<msg::MetaDumpReply>();
    for (const auto* line : *page->lines()) lines.push_back(line->str());
    dump.after = page->next()->str();
    more = page->more();
  }
  const uint64_t inode = lookup(peer, "/f7")->inode;
  msg::MetaLoadT load;
  load.lines = lines;
  load.tag = tag();
  EXPECT_TRUE(status_of(boss, msg::Type::meta_load, load).is(StatusCode::invalid));  // not empty
  EXPECT_EQ(lookup(peer, "/f7")->inode, inode);                                      // unharmed

  // Another deployment, whose server has registered already.
  network.kill("controller");
  controller.reset();
  store_box = std::make_unique<MemoryMetaStore>(loop);
  start_controller();
  TestServer& server = start_server();
  TestPeer& other_boss = admin();
  for (size_t at = 0; at < lines.size(); at += 10) {
    load.lines.assign(lines.begin() + at, lines.begin() + std::min(at + 10, lines.size()));
    load.tag = tag();
    ASSERT_EQ(status_of(other_boss, msg::Type::meta_load, load), Status()) << at;
    if (at + 10 < lines.size()) {
      EXPECT_TRUE(status_of(other_boss, msg::Type::cluster_list, msg::ClusterListT{})
                      .is(StatusCode::unavailable));
    } else {
      ASSERT_EQ(status_of(other_boss, msg::Type::meta_load, load), Status());  // a retry
    }
  }
  EXPECT_TRUE(until([&] { return server.closed.has_value(); }));
  start_server(2);
  EXPECT_EQ(lookup(client("kv"), "/f7")->inode, inode);
}

TEST_F(ControllerTest, a_load_that_is_cut_off_is_never_served) {
  TestPeer& boss = admin();
  msg::MetaLoadT load;
  load.lines = {R"({"kind":"gd2fs metadata","format":1})", "nonsense"};
  load.tag = tag();
  EXPECT_TRUE(status_of(boss, msg::Type::meta_load, load).is(StatusCode::invalid));
  EXPECT_TRUE(
      status_of(boss, msg::Type::cluster_list, msg::ClusterListT{}).is(StatusCode::unavailable));
  load.tag = tag();
  EXPECT_TRUE(status_of(boss, msg::Type::meta_load, load).is(StatusCode::unavailable));
  network.kill("controller");
  controller.reset();
  fabric = std::make_unique<SimFabric>(network, "controller", loop);
  EXPECT_FALSE(wait(loop, Controller::open(loop, *store_box, *fabric, options())).has_value());
}

TEST_F(ControllerTest, a_new_capability_key_reaches_the_servers_before_it_signs) {
  make_cluster("kv");
  TestServer& server = start_server();
  TestPeer& peer = client("kv");
  ASSERT_EQ(create(peer, "/a"), Status());
  const auto key_of = [](const std::vector<uint8_t>& bytes) {
    return std::string(bytes.begin(), bytes.end());
  };
  const auto opens = [&](const msg::FileInfoT& info, const std::string& key) {
    return open_capability(as_bytes(info.capability.data(), info.capability.size()), key, "")
        .has_value();
  };
  server.hold_keys = true;
  const size_t before = server.keys_messages;
  ASSERT_TRUE(until([&] { return server.keys_messages > before; }, 7200 * kSecond));
  const auto held = lookup(peer, "/a");
  server.hold_keys = false;
  const size_t seen = server.keys_messages;
  ASSERT_TRUE(until([&] { return server.keys_messages > seen; }));
  world.run_for_ns(kSecond);
  EXPECT_TRUE(opens(*held, key_of(server.keys.capability_key_previous)));
  EXPECT_TRUE(opens(*lookup(peer, "/a"), key_of(server.keys.capability_key)));
}

}  // namespace
}  // namespace gd2fs::controller
