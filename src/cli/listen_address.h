// ListenAddress: what HOST:PORT settings mean for listeners and for those who are to connect.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace gd2fs::cli {

struct ListenAddress {
  std::string host;  // without brackets
  uint16_t port = 0;
  bool rdma = false;
  // "tcp://host:port" or "rdma://host:port", with brackets where IPv6 needs them.
  std::string fabric_address() const;
  bool any_host() const;  // 0.0.0.0 or ::
};

// "HOST", "HOST:PORT", "[V6]:PORT"; the port defaults to `port_default`.
Result<ListenAddress> parse_listen_address(std::string_view text, uint16_t port_default);
// A data server's: a list with commas of the same, or "rdma://HOST:PORT"; TCP is added at `tcp` if
// the list has none. TCP comes first.
Result<std::vector<ListenAddress>> parse_server_listen(std::string_view text,
                                                       const ListenAddress& tcp);
// The data server's beside a controller's: the same host, the next port (any, if that is 0).
ListenAddress server_beside(const ListenAddress& controller);
// "tcp://0.0.0.0:7527" as bound -> an address others can connect to: this machine's own address in
// the place of "any". Others stay as they are.
std::string reachable_address(const std::string& bound);

}  // namespace gd2fs::cli
