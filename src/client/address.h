// Address: what users write to say where things are, as lists of fabric addresses.
//
//   control   "gd2fs://cp1:7527,cp2,[::1]:7000/path?cluster=NAME&shm=off"   a scheme is optional,
//             it may stand before each host; the port defaults to 7527
//   data      "rdma://192.168.1.100,rdma://192.168.1.101", "tcp://[fe80::1]", "192.168.1.100"
//
// Pure; any thread. Bad input is `invalid` with the offending part in the text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace gd2fs::client {

inline constexpr uint16_t kControllerPort = 7527;
inline constexpr size_t kAddressesMax = 64;

struct ControlAddress {
  std::vector<std::string> controllers;  // "tcp://host:port", at least one
  std::string path;                      // "" or absolute
  std::vector<std::pair<std::string, std::string>> query;
};
Result<ControlAddress> parse_control_address(std::string_view text);

enum class Transport : uint8_t { tcp, rdma };
struct LocalAddress {
  Transport transport = Transport::tcp;
  std::string host;  // without brackets; "" for a loopback address: any local address
};
Result<std::vector<LocalAddress>> parse_data_address(std::string_view text);

// "host", "host:port", "[v6]:port", "v6" -> host without brackets and the port (0: none given).
struct HostPort {
  std::string host;
  uint16_t port = 0;
};
Result<HostPort> parse_host_port(std::string_view text);
bool is_loopback(std::string_view host);

}  // namespace gd2fs::client
