#include "cli/listen_address.h"

#include <algorithm>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/descriptor.h"
#include "cli/config.h"
#include "client/address.h"

namespace gd2fs::cli {
namespace {

constexpr std::string_view kScheme = "tcp://";
constexpr std::string_view kRdmaScheme = "rdma://";

std::string in_brackets(const std::string& host) {
  return host.find(':') == std::string::npos ? host : "[" + host + "]";
}

// The address that packets to the world would leave from; nothing is sent.
std::string own_address(int family) {
  const Descriptor probe(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (probe.fd() < 0) return {};
  sockaddr_storage target = {};
  socklen_t length = 0;
  // Addresses set aside for documentation (RFC 5737, RFC 3849): nobody's.
  if (family == AF_INET) {
    auto* in = reinterpret_cast<sockaddr_in*>(&target);
    in->sin_family = AF_INET;
    in->sin_port = htons(9);
    ::inet_pton(AF_INET, "192.0.2.1", &in->sin_addr);
    length = sizeof *in;
  } else {
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&target);
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(9);
    ::inet_pton(AF_INET6, "2001:db8::1", &in6->sin6_addr);
    length = sizeof *in6;
  }
  if (::connect(probe.fd(), reinterpret_cast<sockaddr*>(&target), length) != 0) return {};
  sockaddr_storage own = {};
  length = sizeof own;
  if (::getsockname(probe.fd(), reinterpret_cast<sockaddr*>(&own), &length) != 0) return {};
  char text[INET6_ADDRSTRLEN] = {};
  const void* address = family == AF_INET
                            ? static_cast<void*>(&reinterpret_cast<sockaddr_in*>(&own)->sin_addr)
                            : static_cast<void*>(&reinterpret_cast<sockaddr_in6*>(&own)->sin6_addr);
  return ::inet_ntop(family, address, text, sizeof text) == nullptr ? std::string() : text;
}

}  // namespace

std::string ListenAddress::fabric_address() const {
  return std::string(rdma ? kRdmaScheme : kScheme) + in_brackets(host) + ":" + std::to_string(port);
}

bool ListenAddress::any_host() const {
  return host == "0.0.0.0" || host == "::";
}

Result<ListenAddress> parse_listen_address(std::string_view text, uint16_t port_default) {
  if (text.starts_with(kScheme)) text.remove_prefix(kScheme.size());
  // parse_host_port takes 0 for "no port", which here means "any".
  const bool any_port = text.ends_with(":0");
  GD2FS_ASSIGN(const client::HostPort parsed,
               client::parse_host_port(any_port ? text.substr(0, text.size() - 2) : text));
  const uint16_t port = parsed.port == 0 ? port_default : parsed.port;
  return ListenAddress{parsed.host, any_port ? uint16_t{0} : port};
}

Result<std::vector<ListenAddress>> parse_server_listen(std::string_view text,
                                                       const ListenAddress& tcp) {
  std::vector<ListenAddress> out;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    std::string_view part = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    const bool rdma = part.starts_with(kRdmaScheme);
    if (rdma) part.remove_prefix(kRdmaScheme.size());
    GD2FS_ASSIGN(ListenAddress address,
                 parse_listen_address(part, rdma ? kRdmaPortDefault : kPortDefault + 1));
    address.rdma = rdma;
    out.push_back(std::move(address));
  }
  const auto first_rdma =
      std::ranges::stable_partition(out, [](const ListenAddress& each) { return !each.rdma; });
  if (first_rdma.begin() == out.begin()) out.insert(out.begin(), tcp);
  return out;
}

ListenAddress server_beside(const ListenAddress& controller) {
  const bool has_next = controller.port != 0 && controller.port != UINT16_MAX;
  return {controller.host, static_cast<uint16_t>(has_next ? controller.port + 1 : 0)};
}

std::string reachable_address(const std::string& bound) {
  const Result<ListenAddress> parsed = parse_listen_address(bound, 0);
  if (!parsed || !parsed->any_host()) return bound;
  const bool v6 = parsed->host == "::";
  ListenAddress own = *parsed;
  own.host = own_address(v6 ? AF_INET6 : AF_INET);
  // "::" takes IPv4 as well.
  if (own.host.empty() && v6) own.host = own_address(AF_INET);
  if (own.host.empty()) own.host = v6 ? "::1" : "127.0.0.1";
  return own.fabric_address();
}

}  // namespace gd2fs::cli
