#include "verbs/ipoib.h"

#include <cstring>
#include <ifaddrs.h>
#include <map>
#include <optional>

#include <net/if_arp.h>
#include <netinet/in.h>
#include <netpacket/packet.h>

namespace gd2fs::verbs {
namespace {

constexpr size_t kHardwareBytes = 20;  // 4 of a queue pair, then the GID

std::optional<uint64_t> guid_in(const sockaddr* address) {
  if (address->sa_family != AF_PACKET) return std::nullopt;
  const auto* link = reinterpret_cast<const sockaddr_ll*>(address);
  if (link->sll_hatype != ARPHRD_INFINIBAND || link->sll_halen != kHardwareBytes) {
    return std::nullopt;
  }
  // It is longer than sockaddr_ll says; getifaddrs() gives it whole.
  const auto* bytes = reinterpret_cast<const uint8_t*>(address) + offsetof(sockaddr_ll, sll_addr);
  uint64_t guid = 0;
  std::memcpy(&guid, bytes + kHardwareBytes - sizeof guid, sizeof guid);
  return guid;
}

std::optional<ibv_gid> gid_in(const sockaddr* address) {
  ibv_gid gid{};
  if (address->sa_family == AF_INET) {
    gid.raw[10] = gid.raw[11] = 0xff;
    std::memcpy(gid.raw + 12, &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, 4);
    return gid;
  }
  if (address->sa_family != AF_INET6) return std::nullopt;
  std::memcpy(gid.raw, &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr, sizeof gid.raw);
  return gid;
}

}  // namespace

std::vector<IpoibAddress> ipoib_addresses() {
  std::vector<IpoibAddress> found;
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return found;
  std::map<std::string, uint64_t> guids;
  for (const ifaddrs* at = all; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr) continue;
    std::string name = at->ifa_name;
    name.resize(std::min(name.size(), name.find(':')));  // an address may have a label: "ib0:1"
    if (const auto guid = guid_in(at->ifa_addr)) guids[name] = *guid;
    if (const auto gid = gid_in(at->ifa_addr)) found.push_back({*gid, name, 0});
  }
  freeifaddrs(all);
  std::erase_if(found, [&](const IpoibAddress& one) { return !guids.contains(one.interface); });
  for (IpoibAddress& one : found) one.port_guid = guids[one.interface];
  return found;
}

uint64_t port_guid_of(const ibv_gid& gid) {
  uint64_t guid = 0;
  std::memcpy(&guid, gid.raw + 8, sizeof guid);
  return guid;
}

}  // namespace gd2fs::verbs
