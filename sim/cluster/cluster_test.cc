#include "sim/cluster/cluster.h"

#include <gtest/gtest.h>

#include "base/log.h"

namespace gd2fs::sim {
namespace {

struct ClusterTest : testing::Test {
  Cluster cluster{3};
  Random random{3};

  ClusterTest() { set_log_level(LogLevel::error); }
  ~ClusterTest() override { set_log_level(LogLevel::info); }

  void start() { ASSERT_TRUE(cluster.start()) << cluster.failure().to_string(); }
  Client& new_client() {
    Client& client = cluster.add_client();
    EXPECT_EQ(client.connect(), Status());
    return client;
  }
  std::vector<std::byte> bytes(size_t length_bytes) {
    std::vector<std::byte> out(length_bytes);
    random.fill(out);
    return out;
  }
};

TEST_F(ClusterTest, what_one_client_writes_another_reads_and_lists) {
  start();
  Client& writer = new_client();
  Client& reader = new_client();
  const auto data = bytes(5 * kMiB + 777);
  ASSERT_EQ(writer.mkdir("/d"), Status());
  ASSERT_EQ(writer.write("/d/a", 0, data), Status());
  auto back = reader.read("/d/a", 0, data.size() + 100);
  ASSERT_TRUE(back.has_value()) << back.error().to_string();
  EXPECT_EQ(*back, data);
  EXPECT_EQ(*reader.list("/d"), std::vector<std::string>{"a"});
  EXPECT_EQ(reader.stat("/d/a")->size_bytes, data.size());
}

TEST_F(ClusterTest, a_rename_truncate_and_unlink_are_seen_by_a_client_with_an_old_layout) {
  start();
  Client& writer = new_client();
  Client& reader = new_client();
  const auto data = bytes(kMiB);
  ASSERT_EQ(writer.write("/a", 0, data), Status());
  ASSERT_EQ(*reader.read("/a", 0, kMiB), data);
  ASSERT_EQ(writer.truncate("/a", 1000), Status());
  EXPECT_EQ(reader.read("/a", 0, kMiB)->size(), 1000u);
  ASSERT_EQ(writer.truncate("/a", 70000), Status());
  auto grown = reader.read("/a", 0, kMiB);
  ASSERT_TRUE(grown.has_value());
  ASSERT_EQ(grown->size(), 70000u);
  EXPECT_TRUE(std::equal(grown->begin(), grown->begin() + 1000, data.begin()));
  EXPECT_TRUE(std::all_of(grown->begin() + 1000, grown->end(),
                          [](std::byte b) { return b == std::byte{0}; }));
  ASSERT_EQ(writer.rename("/a", "/b"), Status());
  EXPECT_TRUE(reader.read("/a", 0, 10).error().is(StatusCode::not_found));
  EXPECT_EQ(reader.read("/b", 0, kMiB)->size(), 70000u);
  ASSERT_EQ(writer.unlink("/b"), Status());
  EXPECT_TRUE(reader.read("/b", 0, 10).error().is(StatusCode::not_found));
}

TEST_F(ClusterTest, a_directory_rename_is_seen_by_a_client_with_an_old_layout) {
  start();
  Client& writer = new_client();
  Client& reader = new_client();
  const auto old_data = bytes(1000);
  const auto new_data = bytes(1000);
  ASSERT_EQ(writer.mkdir("/d"), Status());
  ASSERT_EQ(writer.mkdir("/e"), Status());
  ASSERT_EQ(writer.write("/d/a", 0, old_data), Status());
  ASSERT_EQ(writer.write("/e/a", 0, new_data), Status());
  ASSERT_EQ(*reader.read("/d/a", 0, 1000), old_data);
  ASSERT_EQ(writer.rename("/d", "/f"), Status());
  ASSERT_EQ(writer.rename("/e", "/d"), Status());
  EXPECT_EQ(*reader.read("/d/a", 0, 1000), new_data);
}

TEST_F(ClusterTest, acknowledged_bytes_and_names_survive_power_failures_of_both) {
  start();
  Client& client = new_client();
  const auto data = bytes(3 * kMiB);
  for (int round = 0; round < 6; ++round) {
    const std::string path = "/a" + std::to_string(round);
    ASSERT_EQ(client.write(path, 0, data), Status()) << round;
    const Crash crash = round % 2 == 0 ? Crash::power : Crash::kill;
    if (round % 3 != 0) {
      cluster.crash_controller(crash);
      cluster.start_controller();
    }
    if (round % 3 != 1) {
      cluster.crash_server(crash);
      cluster.start_server();
    }
    ASSERT_TRUE(cluster.wait_serving()) << cluster.failure().to_string();
    for (int i = 0; i <= round; ++i) {
      auto back = client.read("/a" + std::to_string(i), 0, data.size());
      ASSERT_TRUE(back.has_value()) << round << " " << i << " " << back.error().to_string();
      ASSERT_EQ(*back, data) << round << " " << i;
    }
  }
}

TEST_F(ClusterTest, a_client_rides_out_a_restart_in_the_middle_of_its_writes) {
  start();
  Client& client = new_client();
  const auto data = bytes(4 * kMiB);
  std::vector<std::unique_ptr<Call>> calls;
  for (int i = 0; i < 8; ++i) {
    auto& call = *calls.emplace_back(std::make_unique<Call>());
    call.request.op = client::Op::write;
    call.request.path = "/w" + std::to_string(i);
    call.memory = data;
    client.use_memory(call);
    client.submit(call);
  }
  cluster.world().run_for_ns(5 * kMs);
  cluster.crash_server(Crash::power);
  cluster.start_server();
  cluster.world().run_for_ns(20 * kMs);
  cluster.crash_controller(Crash::power);
  cluster.start_controller();
  ASSERT_TRUE(cluster.world().run_until([&] {
    return std::all_of(calls.begin(), calls.end(), [](auto& call) { return call->ended; });
  }));
  for (int i = 0; i < 8; ++i) {
    ASSERT_EQ(calls[i]->request.status, Status()) << i;
    EXPECT_EQ(*client.read("/w" + std::to_string(i), 0, data.size()), data) << i;
  }
}

TEST_F(ClusterTest, an_unlink_is_acknowledged_without_a_dead_server_and_nothing_comes_back) {
  start();
  Client& client = new_client();
  const auto data = bytes(kMiB);
  ASSERT_EQ(client.write("/a", 0, data), Status());
  cluster.crash_server(Crash::power);
  ASSERT_EQ(client.unlink("/a"), Status());
  ASSERT_EQ(client.create("/a"), Status());
  cluster.start_server();
  ASSERT_TRUE(cluster.wait_serving());
  EXPECT_TRUE(client.read("/a", 0, kMiB)->empty());
  cluster.world().run_for_ns(10 * kSecond);
  EXPECT_EQ(cluster.store()->stats().chunks, 0u);
}

TEST_F(ClusterTest, a_stopped_server_answers_nothing_old_when_it_goes_on) {
  start();
  Client& writer = new_client();
  Client& reader = new_client();
  const auto data = bytes(kMiB);
  ASSERT_EQ(writer.write("/a", 0, data), Status());
  ASSERT_EQ(*reader.read("/a", 0, kMiB), data);
  cluster.server_process()->stop();
  ASSERT_EQ(writer.truncate("/a", 0), Status());  // waits for the lease to end
  cluster.server_process()->go_on();
  EXPECT_TRUE(reader.read("/a", 0, kMiB)->empty());
}

TEST_F(ClusterTest, a_read_that_waits_while_its_file_is_cut_ends_where_the_file_ends) {
  start();
  Client& writer = new_client();
  Client& reader = new_client();
  ASSERT_EQ(writer.write("/a", 0, bytes(kMiB)), Status());
  ASSERT_EQ(reader.read("/a", 0, kMiB)->size(), kMiB);
  cluster.network().partition_both(reader.node(), "server");
  cluster.network().reset_sessions(reader.node(), "server");
  Call call;
  call.request.op = client::Op::read;
  call.request.path = "/a";
  call.request.offset = kMiB / 2;
  call.memory.resize(1000);
  reader.use_memory(call);
  reader.submit(call);
  cluster.world().run_for_ns(10 * kMs);
  ASSERT_EQ(writer.truncate("/a", 1000), Status());
  ASSERT_EQ(reader.stat("/a")->size_bytes, 1000u);  // so that the reader's layout is the new one
  ASSERT_FALSE(call.ended);
  cluster.network().heal_all();
  ASSERT_TRUE(cluster.world().run_until([&] { return call.ended; }));
  EXPECT_EQ(call.request.status, Status());
  EXPECT_EQ(call.request.value, 0u);
}

TEST_F(ClusterTest, a_partition_between_the_processes_heals_without_help) {
  start();
  Client& client = new_client();
  cluster.network().partition_both("server", "controller");
  cluster.world().run_for_ns(20 * kSecond);
  EXPECT_FALSE(cluster.serving());
  cluster.network().heal_all();
  ASSERT_TRUE(cluster.wait_serving());
  EXPECT_EQ(client.write("/a", 0, bytes(1000)), Status());
}

TEST_F(ClusterTest, a_clean_end_leaves_everything_for_the_next_start) {
  start();
  Client& client = new_client();
  const auto data = bytes(kMiB);
  ASSERT_EQ(client.write("/a", 0, data), Status());
  cluster.end_server();
  cluster.end_controller();
  EXPECT_EQ(cluster.failure(), Status());
  ASSERT_TRUE(cluster.start()) << cluster.failure().to_string();
  EXPECT_EQ(*client.read("/a", 0, kMiB), data);
}

}  // namespace
}  // namespace gd2fs::sim
