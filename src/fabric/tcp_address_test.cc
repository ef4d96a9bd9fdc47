#include "fabric/tcp_address.h"

#include <gtest/gtest.h>

namespace gd2fs {
namespace {

TEST(TcpAddress, names_ipv4_and_bracketed_ipv6_with_or_without_port) {
  const struct {
    const char* text;
    const char* host;
    uint16_t port;
  } cases[] = {
      {"tcp://server1:7528", "server1", 7528},
      {"tcp://server1", "server1", 7527},
      {"gd2fs://cp1.example.org", "cp1.example.org", 7527},
      {"127.0.0.1:80", "127.0.0.1", 80},
      {"tcp://[::1]:9000", "::1", 9000},
      {"[fd00::2]", "fd00::2", 7527},
      {"tcp://a:0", "a", 0},
      {"tcp://a:65535", "a", 65535},
  };
  for (const auto& c : cases) {
    const auto address = parse_tcp_address(c.text);
    ASSERT_TRUE(address.has_value()) << c.text << ": " << address.error().to_string();
    EXPECT_EQ(address->host, c.host) << c.text;
    EXPECT_EQ(address->port, c.port) << c.text;
  }
  EXPECT_EQ(parse_tcp_address("[::1]:9")->to_string(), "tcp://[::1]:9");
}

TEST(TcpAddress, all_else_is_invalid) {
  for (const char* text :
       {"", "tcp://", "tcp://:7528", "rdma://a", "http://a", "tcp://a:", "tcp://a:65536",
        "tcp://a:-1", "tcp://a:7x", "tcp://::1:7528", "tcp://[::1", "tcp://[::1]x", "tcp://[]",
        "tcp://a/b", "tcp://a b", "tcp://a:99999999999999999999", "tcp://a?shm=off"}) {
    const auto address = parse_tcp_address(text);
    ASSERT_FALSE(address.has_value()) << text;
    EXPECT_TRUE(address.error().is(StatusCode::invalid)) << text;
  }
  EXPECT_FALSE(parse_tcp_address("tcp://" + std::string(256, 'a')).has_value());
  EXPECT_FALSE(parse_tcp_address(std::string("tcp://a\0b", 9)).has_value());
}

TEST(TcpAddress, numeric_addresses_resolve_without_a_name_server_and_names_do_not) {
  const auto v4 = resolve({"127.0.0.2", 7528}, Resolve::numeric_only);
  ASSERT_TRUE(v4.has_value());
  EXPECT_EQ(v4->front().to_string(), "tcp://127.0.0.2:7528");
  EXPECT_TRUE(v4->front().is_loopback());
  const auto v6 = resolve({"::1", 1}, Resolve::numeric_only);
  ASSERT_TRUE(v6.has_value());
  EXPECT_EQ(v6->front().to_string(), "tcp://[::1]:1");
  EXPECT_TRUE(v6->front().is_loopback());
  EXPECT_TRUE(resolve({"0.0.0.0", 1}, Resolve::numeric_only)->front().is_any());
  EXPECT_FALSE(resolve({"10.0.0.1", 1}, Resolve::numeric_only)->front().is_loopback());
  EXPECT_TRUE(v4->front().same_host(resolve({"127.0.0.1", 9}, Resolve::numeric_only)->front()));
  EXPECT_FALSE(v4->front().same_host(v6->front()));
  const auto near = resolve({"10.0.0.1", 1}, Resolve::numeric_only)->front();
  EXPECT_TRUE(near.same_host(resolve({"10.0.0.1", 2}, Resolve::numeric_only)->front()));
  EXPECT_FALSE(near.same_host(resolve({"10.0.0.2", 1}, Resolve::numeric_only)->front()));
  EXPECT_TRUE(resolve({"localhost", 1}, Resolve::numeric_only).error().is(StatusCode::not_found));
  EXPECT_TRUE(resolve({"localhost", 1}, Resolve::names_too).has_value());
}

}  // namespace
}  // namespace gd2fs
