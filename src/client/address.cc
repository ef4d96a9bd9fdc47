#include "client/address.h"

#include <algorithm>
#include <charconv>

namespace gd2fs::client {
namespace {

std::unexpected<Status> bad(std::string_view what, std::string_view text) {
  return fail(StatusCode::invalid, std::string(what) + " in \"" + std::string(text) + "\"");
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

std::string join_host_port(const HostPort& at) {
  const bool v6 = at.host.find(':') != std::string::npos;
  std::string out = "tcp://";
  out += v6 ? "[" + at.host + "]" : at.host;
  out += ":" + std::to_string(at.port != 0 ? at.port : kControllerPort);
  return out;
}

Result<uint16_t> parse_port(std::string_view text, std::string_view whole) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0) {
    return bad("a port is 1..65535", whole);
  }
  return port;
}

}  // namespace

Result<HostPort> parse_host_port(std::string_view text) {
  HostPort out;
  std::string_view port;
  if (!text.empty() && text.front() == '[') {
    const size_t close = text.find(']');
    if (close == std::string_view::npos) return bad("no closing ]", text);
    out.host = text.substr(1, close - 1);
    const std::string_view rest = text.substr(close + 1);
    if (!rest.empty() && rest.front() != ':') return bad("only a port may follow ]", text);
    if (!rest.empty()) port = rest.substr(1);
    if (rest == ":") return bad("no port after the colon", text);
  } else if (std::count(text.begin(), text.end(), ':') > 1) {
    out.host = text;  // a bare IPv6 address has no port
  } else {
    const size_t colon = text.find(':');
    out.host = text.substr(0, colon);
    if (colon != std::string_view::npos) {
      port = text.substr(colon + 1);
      if (port.empty()) return bad("no port after the colon", text);
    }
  }
  if (out.host.empty()) return bad("no host", text);
  const bool plain = std::all_of(out.host.begin(), out.host.end(), [](char c) {
    return c > ' ' && c < 0x7f && c != '/' && c != '?' && c != '[' && c != ']' && c != '@';
  });
  if (!plain) return bad("not a host name or address", text);
  if (!port.empty()) {
    GD2FS_ASSIGN(out.port, parse_port(port, text));
  }
  return out;
}

bool is_loopback(std::string_view host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

Result<ControlAddress> parse_control_address(std::string_view text) {
  ControlAddress out;
  std::string_view hosts = trim(text);
  if (const size_t query = hosts.find('?'); query != std::string_view::npos) {
    for (std::string_view pair : split(hosts.substr(query + 1), '&')) {
      if (pair.empty()) continue;
      const size_t equals = pair.find('=');
      if (equals == std::string_view::npos || equals == 0) return bad("key=value wanted", pair);
      out.query.emplace_back(pair.substr(0, equals), pair.substr(equals + 1));
    }
    hosts = hosts.substr(0, query);
  }
  for (std::string_view part : split(hosts, ',')) {
    part = trim(part);
    if (part.starts_with("gd2fs://")) {
      part.remove_prefix(8);
    } else if (part.find("://") != std::string_view::npos) {
      return bad("a controller's scheme is gd2fs://", part);
    }
    if (const size_t slash = part.find('/'); slash != std::string_view::npos) {
      if (!out.path.empty()) return bad("a second path", part);
      out.path = part.substr(slash);
      part = part.substr(0, slash);
    }
    GD2FS_ASSIGN(const HostPort at, parse_host_port(part));
    out.controllers.push_back(join_host_port(at));
  }
  if (out.controllers.size() > kAddressesMax) return bad("over 64 controllers", text);
  return out;
}

Result<std::vector<LocalAddress>> parse_data_address(std::string_view text) {
  std::vector<LocalAddress> out;
  for (std::string_view part : split(trim(text), ',')) {
    part = trim(part);
    LocalAddress local;
    if (part.starts_with("rdma://")) {
      local.transport = Transport::rdma;
      part.remove_prefix(7);
    } else if (part.starts_with("tcp://")) {
      part.remove_prefix(6);
    } else if (part.find("://") != std::string_view::npos) {
      return bad("a data transport is tcp:// or rdma://", part);
    }
    GD2FS_ASSIGN(const HostPort at, parse_host_port(part));
    if (at.port != 0) return bad("a local NIC's address has no port", part);
    if (!is_loopback(at.host)) local.host = at.host;
    out.push_back(std::move(local));
  }
  if (out.size() > kAddressesMax) return bad("over 64 local addresses", text);
  return out;
}

}  // namespace gd2fs::client
