#include "client/options.h"

#include <map>

#include <gtest/gtest.h>

#include "wire/frame.h"

namespace gd2fs::client {
namespace {

struct World {
  std::map<std::string, std::string> variables;
  std::map<std::string, std::string> files;
  ClientEnvironment environment() {
    return {[this](const char* name) -> std::optional<std::string> {
              auto found = variables.find(name);
              return found == variables.end() ? std::nullopt : std::optional(found->second);
            },
            [this](const std::string& path) -> Result<std::string> {
              auto found = files.find(path);
              if (found == files.end()) return fail(StatusCode::not_found, path);
              return found->second;
            }};
  }
};

TEST(Address, a_list_of_controllers_takes_schemes_ports_ipv6_a_path_and_a_query) {
  const auto address =
      parse_control_address("gd2fs://cp1:7000,gd2fs://cp2,[::1]:80,fe80::2/kv/a?cluster=x&shm=off");
  ASSERT_TRUE(address.has_value()) << address.error().to_string();
  EXPECT_EQ(address->controllers,
            (std::vector<std::string>{"tcp://cp1:7000", "tcp://cp2:7527", "tcp://[::1]:80",
                                      "tcp://[fe80::2]:7527"}));
  EXPECT_EQ(address->path, "/kv/a");
  ASSERT_EQ(address->query.size(), 2u);
  EXPECT_EQ(address->query[0], (std::pair<std::string, std::string>("cluster", "x")));
}

TEST(Address, what_cannot_be_a_controller_is_refused) {
  for (const char* text : {"", "gd2fs://", "gd2fs://h:0", "gd2fs://h:70000", "gd2fs://h:x",
                           "h:", "http://h", "a,,b", "[::1", "[::1]x", "h?shm", "gd2fs://a b:1"}) {
    EXPECT_FALSE(parse_control_address(text).has_value()) << text;
  }
}

TEST(Address, loopback_data_addresses_bind_nowhere_and_others_to_their_nic) {
  const auto locals = parse_data_address("rdma://192.168.1.100, tcp://127.0.0.1,tcp://[fe80::1]");
  ASSERT_TRUE(locals.has_value());
  ASSERT_EQ(locals->size(), 3u);
  EXPECT_EQ((*locals)[0].transport, Transport::rdma);
  EXPECT_EQ((*locals)[0].host, "192.168.1.100");
  EXPECT_EQ((*locals)[1].host, "");
  EXPECT_EQ((*locals)[2].host, "fe80::1");
  for (const char* text : {"", "udp://1.2.3.4", "tcp://1.2.3.4:80", "tcp://"}) {
    EXPECT_FALSE(parse_data_address(text).has_value()) << text;
  }
}

TEST(Options, defaults_need_nothing_from_anyone) {
  World world;
  const auto options = parse_options({}, world.environment());
  ASSERT_TRUE(options.has_value()) << options.error().to_string();
  EXPECT_EQ(options->controllers, std::vector<std::string>{"tcp://127.0.0.1:7527"});
  EXPECT_EQ(options->locals.size(), 1u);
  EXPECT_EQ(options->cluster, "gd2fs-cluster0");
  EXPECT_EQ(options->timeout_ns, 30 * kSecond);
  EXPECT_EQ(options->lanes, kLanesDefault);
  EXPECT_TRUE(options->key.empty());
}

TEST(Options, the_struct_wins_over_the_query_and_the_query_over_the_environment) {
  World world;
  world.variables = {{"GD2FS_CPADDR", "gd2fs://env:1?cluster=query&shm=on"},
                     {"GD2FS_CLUSTER", "environment"},
                     {"GD2FS_SHM", "off"},
                     {"GD2FS_STREAMS", "9"},
                     {"GD2FS_IOTHREADS", "3"},
                     {"GD2FS_DPADDR", "tcp://10.0.0.1"}};
  auto options = parse_options({}, world.environment());
  ASSERT_TRUE(options.has_value()) << options.error().to_string();
  EXPECT_EQ(options->cluster, "query");
  EXPECT_TRUE(options->shm);
  EXPECT_EQ(options->lanes, 9u);
  EXPECT_EQ(options->io_threads, 3u);
  EXPECT_EQ(options->locals[0].host, "10.0.0.1");
  RawOptions raw;
  raw.cluster_id = "struct";
  raw.conn_stream_count = 1;
  raw.iothread_count = 1;
  raw.timeout_ms = 3000;
  options = parse_options(raw, world.environment());
  ASSERT_TRUE(options.has_value());
  EXPECT_EQ(options->cluster, "struct");
  EXPECT_EQ(options->lanes, kLanesDefault);  // a floor, not a cap
  EXPECT_EQ(options->io_threads, 1u);
  EXPECT_EQ(options->timeout_ns, 3 * kSecond);
}

TEST(Options, the_token_is_the_named_file_or_the_one_of_the_cluster_under_home) {
  World world;
  world.variables = {{"HOME", "/home/u"}};
  world.files = {{"/home/u/.config/gd2fs/tokens/deepseek-r1", "secret"}, {"/t", "named"}};
  RawOptions raw;
  raw.cluster_id = "deepseek-r1";
  EXPECT_EQ(parse_options(raw, world.environment())->key, "secret");
  world.variables["GD2FS_TOKEN_FILE"] = "/t";
  EXPECT_EQ(parse_options(raw, world.environment())->key, "named");
  world.variables["GD2FS_TOKEN_FILE"] = "/nowhere";
  const auto missing = parse_options(raw, world.environment());
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().code(), StatusCode::not_found);
}

TEST(Options, require_of_a_path_that_this_version_lacks_fails_instead_of_falling_back) {
  World world;
  world.variables["GD2FS_REQUIRE"] = "gpu_direct";
  EXPECT_EQ(parse_options({}, world.environment())->require, Require::gpu_direct);
  world.variables["GD2FS_REQUIRE"] = "rdma";
  EXPECT_EQ(parse_options({}, world.environment()).error().code(), StatusCode::invalid);
  RawOptions over_rdma;
  over_rdma.dp_address = "rdma://192.168.1.100";
  EXPECT_EQ(parse_options(over_rdma, world.environment())->require, Require::rdma);
  world.variables["GD2FS_REQUIRE"] = "shm";
  EXPECT_EQ(parse_options({}, world.environment())->require, Require::shm);
  world.variables["GD2FS_SHM"] = "off";
  EXPECT_EQ(parse_options({}, world.environment()).error().code(), StatusCode::invalid);
  world.variables["GD2FS_REQUIRE"] = "luck";
  EXPECT_EQ(parse_options({}, world.environment()).error().code(), StatusCode::invalid);
}

TEST(Options, what_cannot_be_understood_is_refused_with_its_name) {
  World world;
  RawOptions raw;
  raw.log_level = "loud";
  EXPECT_EQ(parse_options(raw, world.environment()).error().code(), StatusCode::invalid);
  raw = {};
  raw.cluster_id = "../etc/passwd";
  EXPECT_EQ(parse_options(raw, world.environment()).error().code(), StatusCode::invalid);
  raw = {};
  raw.cp_address = "gd2fs://h?colour=red";
  EXPECT_EQ(parse_options(raw, world.environment()).error().code(), StatusCode::invalid);
  raw = {};
  world.variables["GD2FS_STREAMS"] = "many";
  EXPECT_EQ(parse_options(raw, world.environment()).error().code(), StatusCode::invalid);
  world.variables["GD2FS_STREAMS"] = "1000";
  EXPECT_EQ(parse_options(raw, world.environment())->lanes, kLanesMax);
}

}  // namespace
}  // namespace gd2fs::client
