#include "fabric/tcp_address.h"

#include <cerrno>
#include <cstring>
#include <netdb.h>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace gd2fs {
namespace {

constexpr size_t kAddressesMax = 16;  // of one name; more are not tried

std::string quoted(std::string_view text) {
  return "'" + std::string(text.substr(0, 300)) + "'";
}

Result<uint16_t> parse_port(std::string_view text, std::string_view whole) {
  uint32_t port = 0;
  for (const char c : text) {
    if (c < '0' || c > '9' || port > 65535) {
      return fail(StatusCode::invalid, quoted(whole) + ": the port is no number up to 65535");
    }
    port = port * 10 + static_cast<uint32_t>(c - '0');
  }
  if (text.empty() || port > 65535) {
    return fail(StatusCode::invalid, quoted(whole) + ": the port is no number up to 65535");
  }
  return static_cast<uint16_t>(port);
}

}  // namespace

std::string TcpAddress::to_string() const {
  const bool v6 = host.find(':') != std::string::npos;
  return "tcp://" + (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<TcpAddress> parse_tcp_address(std::string_view text) {
  std::string_view rest = text;
  if (const size_t scheme_end = rest.find("://"); scheme_end != std::string_view::npos) {
    const std::string_view scheme = rest.substr(0, scheme_end);
    if (scheme != "tcp" && scheme != "gd2fs") {
      return fail(StatusCode::invalid, quoted(text) + ": not a tcp:// address");
    }
    rest.remove_prefix(scheme_end + 3);
  }
  TcpAddress address;
  std::string_view port;
  bool has_port = false;
  if (rest.starts_with('[')) {
    const size_t end = rest.find(']');
    if (end == std::string_view::npos) return fail(StatusCode::invalid, quoted(text) + ": no ']'");
    address.host = rest.substr(1, end - 1);
    rest.remove_prefix(end + 1);
    has_port = rest.starts_with(':');
    if (!has_port && !rest.empty()) {
      return fail(StatusCode::invalid, quoted(text) + ": text behind ']'");
    }
    if (has_port) port = rest.substr(1);
  } else {
    const size_t colon = rest.find(':');
    if (colon != std::string_view::npos && rest.find(':', colon + 1) != std::string_view::npos) {
      return fail(StatusCode::invalid, quoted(text) + ": an IPv6 address needs brackets");
    }
    address.host = rest.substr(0, colon);
    has_port = colon != std::string_view::npos;
    if (has_port) port = rest.substr(colon + 1);
  }
  if (address.host.empty() || address.host.size() > kHostMaxBytes ||
      address.host.find_first_of(std::string_view("/ \t\r\n\0?#@", 9)) != std::string::npos) {
    return fail(StatusCode::invalid, quoted(text) + ": no host");
  }
  if (has_port) {
    GD2FS_ASSIGN(address.port, parse_port(port, text));
  }
  return address;
}

bool SocketAddress::is_loopback() const {
  if (family() == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    return (ntohl(v4.sin_addr.s_addr) >> 24) == 127;
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
  return family() == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

bool SocketAddress::is_any() const {
  if (family() == AF_INET) {
    return reinterpret_cast<const sockaddr_in&>(storage).sin_addr.s_addr == INADDR_ANY;
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
  return family() == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr);
}

bool SocketAddress::same_host(const SocketAddress& other) const {
  if (family() != other.family()) return false;
  if (is_loopback() && other.is_loopback()) return true;
  if (family() == AF_INET) {
    return reinterpret_cast<const sockaddr_in&>(storage).sin_addr.s_addr ==
           reinterpret_cast<const sockaddr_in&>(other.storage).sin_addr.s_addr;
  }
  return family() == AF_INET6 &&
         IN6_ARE_ADDR_EQUAL(&reinterpret_cast<const sockaddr_in6&>(storage).sin6_addr,
                            &reinterpret_cast<const sockaddr_in6&>(other.storage).sin6_addr);
}

std::string SocketAddress::to_string() const {
  char host[INET6_ADDRSTRLEN] = "?";
  TcpAddress address;
  if (family() == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    inet_ntop(AF_INET, &v4.sin_addr, host, sizeof host);
    address.port = ntohs(v4.sin_port);
  } else if (family() == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
    inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof host);
    address.port = ntohs(v6.sin6_port);
  }
  address.host = host;
  return address.to_string();
}

Result<std::vector<SocketAddress>> resolve(const TcpAddress& address, Resolve how) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (how == Resolve::numeric_only ? AI_NUMERICHOST : 0);
  addrinfo* found = nullptr;
  const std::string port = std::to_string(address.port);
  const int error = getaddrinfo(address.host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) {
    const std::string text = address.host + ": " + gai_strerror(error);
    if (error == EAI_SYSTEM) return fail(Status::from_errno(errno, address.host));
    // A name server that does not answer may answer later.
    return fail(error == EAI_AGAIN ? StatusCode::unavailable : StatusCode::not_found, text);
  }
  std::vector<SocketAddress> addresses;
  for (const addrinfo* at = found; at != nullptr && addresses.size() < kAddressesMax;
       at = at->ai_next) {
    if (at->ai_addrlen > sizeof(sockaddr_storage)) continue;
    SocketAddress& one = addresses.emplace_back();
    std::memcpy(&one.storage, at->ai_addr, at->ai_addrlen);
    one.length = at->ai_addrlen;
  }
  freeaddrinfo(found);
  if (addresses.empty()) return fail(StatusCode::not_found, address.host + ": no address");
  return addresses;
}

Result<SocketAddress> socket_address_of(int fd) {
  SocketAddress address;
  address.length = sizeof address.storage;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.length) != 0) {
    return fail(Status::from_errno(errno, "getsockname"));
  }
  return address;
}

Result<SocketAddress> peer_address_of(int fd) {
  SocketAddress address;
  address.length = sizeof address.storage;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.length) != 0) {
    return fail(Status::from_errno(errno, "getpeername"));
  }
  return address;
}

}  // namespace gd2fs
