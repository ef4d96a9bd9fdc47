// TcpAddress: "tcp://host:port" as people write it, and socket addresses as the kernel has them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <sys/socket.h>

#include "base/status.h"

namespace gd2fs {

inline constexpr uint16_t kDefaultPort = 7527;
inline constexpr size_t kHostMaxBytes = 255;

struct TcpAddress {
  std::string host;  // a name, an IPv4 or an IPv6 address without its brackets
  uint16_t port = kDefaultPort;
  std::string to_string() const;  // "tcp://[::1]:7527"
};

// "tcp://host:port", "gd2fs://host:port" or "host:port"; the port may be left out; an IPv6 address
// stands in brackets. invalid with the reason.
Result<TcpAddress> parse_tcp_address(std::string_view text);

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
  bool is_loopback() const;
  bool is_any() const;
  bool same_host(const SocketAddress& other) const;  // the same address, whatever the port
  std::string to_string() const;                     // "tcp://127.0.0.1:7527"
};

// The socket addresses of a host. `numeric_only` never asks a name server and so never blocks:
// not_found then means that it is a name. Else it may block for as long as the resolver likes.
enum class Resolve : uint8_t { numeric_only, names_too };
Result<std::vector<SocketAddress>> resolve(const TcpAddress& address, Resolve how);

Result<SocketAddress> socket_address_of(int fd);  // as bound
Result<SocketAddress> peer_address_of(int fd);

}  // namespace gd2fs
