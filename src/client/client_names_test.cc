// What the client asks of its controllers: names, sizes, pins and quota, also while one restarts or
// hangs.
#include "client/client_fixture.h"

namespace gd2fs::client {
namespace {

TEST_F(ClientTest, a_pin_is_set_and_seen) {
  connect();
  cluster_.make("/a", 5);
  const auto pin = [&](const std::string& path, bool pinned) {
    auto asked = ask(Op::setattr, path);
    asked->request.pin = pinned;
    client_.submit(asked->request);
    finish(*asked);
    return asked->request.status;
  };
  EXPECT_TRUE(pin("/a", true).ok());
  EXPECT_TRUE(cluster_.files["/a"].pinned);
  auto stat = ask(Op::stat, "/a");
  client_.submit(stat->request);
  finish(*stat);
  EXPECT_TRUE(stat->request.facts.pinned);
  EXPECT_TRUE(pin("/a", false).ok());
  EXPECT_FALSE(cluster_.files["/a"].pinned);
  EXPECT_TRUE(pin("/b", true).is(StatusCode::not_found));
}

TEST_F(ClientTest, quota_is_refused_before_any_byte_moves_and_only_for_who_went_too_far) {
  connect();
  cluster_.quota_bytes = 100;
  auto small = start_write("/a", 0, random_bytes(50));
  auto big = start_write("/a", 0, random_bytes(500));
  finish(*small);
  finish(*big);
  EXPECT_TRUE(small->request.status.ok()) << small->request.status.to_string();
  EXPECT_EQ(big->request.status.errno_value(), EDQUOT);
  EXPECT_EQ(cluster_.files["/a"].size_bytes, 50u);
}

TEST_F(ClientTest, a_set_size_that_finds_the_file_cut_counts_as_before_the_cut) {
  connect();
  cluster_.make("/a", 1000);
  cluster_.interfere = [&](msg::Type type) -> std::optional<Status> {
    if (type != msg::Type::set_size) return std::nullopt;
    // A truncate got in between the bytes and the size.
    MemoryCluster::File& file = cluster_.files["/a"];
    ++file.generation;
    file.size_bytes = file.reserved_bytes = 10;
    cluster_.interfere = nullptr;
    return Status(StatusCode::stale);
  };
  const auto asked = write("/a", 990, random_bytes(100));
  EXPECT_TRUE(asked->request.status.ok()) << asked->request.status.to_string();
  EXPECT_EQ(cluster_.files["/a"].size_bytes, 10u);
  EXPECT_TRUE(cluster_.sizes_asked.empty());
}

TEST_F(ClientTest, a_set_size_whose_outcome_is_open_says_so) {
  connect();
  cluster_.make("/a", 1000);
  cluster_.interfere = [&](msg::Type type) -> std::optional<Status> {
    if (type != msg::Type::set_size) return std::nullopt;
    ++cluster_.files["/a"].generation;  // renamed there and back
    cluster_.interfere = nullptr;
    return Status(StatusCode::stale);
  };
  EXPECT_EQ(write("/a", 990, random_bytes(100))->request.status.code(), StatusCode::stale);
}

TEST_F(ClientTest, names_are_created_once_and_removed) {
  connect();
  auto create = ask(Op::create, "/n");
  create->request.size_bytes = 4096;
  client_.submit(create->request);
  finish(*create);
  ASSERT_TRUE(create->request.status.ok());
  auto again = ask(Op::create, "/n");
  client_.submit(again->request);
  finish(*again);
  EXPECT_EQ(again->request.status.errno_value(), EEXIST);
  auto facts = ask(Op::stat, "/n");
  client_.submit(facts->request);
  finish(*facts);
  EXPECT_EQ(facts->request.facts.size_bytes, 4096u);
  EXPECT_EQ(facts->request.facts.chunk_bytes, kChunk);
  auto unlink = ask(Op::unlink, "/n");
  client_.submit(unlink->request);
  finish(*unlink);
  EXPECT_TRUE(unlink->request.status.ok());
  EXPECT_EQ(read("/n", 0, 1)->request.status.code(), StatusCode::not_found);
}

TEST_F(ClientTest, more_mutations_than_the_controller_remembers_wait_for_their_turn) {
  connect();
  std::vector<std::unique_ptr<Asked>> all;
  for (int i = 0; i < 2000; ++i) {
    all.push_back(ask(Op::create, "/many/" + std::to_string(i)));
    client_.submit(all.back()->request);
  }
  for (auto& asked : all) {
    finish(*asked);
    EXPECT_TRUE(asked->request.status.ok()) << asked->request.status.to_string();
  }
}

TEST_F(ClientTest, a_controller_that_restarts_is_found_again) {
  connect();
  cluster_.stop_controller();
  auto asked = start_write("/a", 0, random_bytes(10));
  world_.run_for_ns(500 * kMs);
  EXPECT_FALSE(asked->ended);
  cluster_.start_controller();
  finish(*asked);
  EXPECT_TRUE(asked->request.status.ok()) << asked->request.status.to_string();
}

TEST_F(ClientTest, a_controller_that_hangs_is_left_for_another_while_there_is_time) {
  // The first address answers the map and then nothing any more.
  Loop second_loop(world_.clock(), Loop::Waits::never);
  SimWorld::Member second_member(world_, second_loop);
  MemoryCluster second(place("second", "tcp://second:7527", second_loop),
                       place("second-server", "tcp://second-server:7528", second_loop));
  ClientOptions options = test_options();
  options.controllers = {"tcp://controller:7527", "tcp://second:7527"};
  Client client(loop_, fabric_, Random(1), options);
  struct Flag {
    bool ended = false;
    void on(Completion&) { ended = true; }
  } flag;
  Completion done;
  done.bind<&Flag::on>(&flag);
  client.connect(done, 5 * kSecond);
  ASSERT_TRUE(world_.run_until([&] { return flag.ended; }));
  cluster_.interfere = [](msg::Type) { return Status(StatusCode::canceled); };
  auto asked = ask(Op::create, "/hung");
  client.submit(asked->request);
  finish(*asked);
  EXPECT_TRUE(asked->request.status.ok()) << asked->request.status.to_string();
  EXPECT_TRUE(second.files.contains("/hung"));
}

TEST_F(ClientTest, a_file_of_the_wrong_shape_or_range_is_refused_by_the_client) {
  connect();
  cluster_.make("/a", 10);
  const auto asked = write("/a", uint64_t{1} << 60, random_bytes(10));
  EXPECT_EQ(asked->request.status.errno_value(), EFBIG);
  EXPECT_EQ(asked->request.origin, Origin::request);
}

}  // namespace
}  // namespace gd2fs::client
