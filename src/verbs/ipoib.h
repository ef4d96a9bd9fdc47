// ipoib: which InfiniBand ports the IP addresses of this machine belong to. Such a port has no IP
// address among its GIDs; its network device (IPoIB), a partition's or a bond has, and the last 8
// of the 20 bytes of its hardware address are the port's GUID (RFC 4391, 9.1.1). Any thread; a few
// system calls.
#pragma once

#include <string>
#include <vector>

#include <infiniband/verbs.h>

namespace gd2fs::verbs {

struct IpoibAddress {
  ibv_gid address{};       // IPv4 as ::ffff:a.b.c.d
  std::string interface;   // "ib0"
  uint64_t port_guid = 0;  // its 8 bytes as they lie in memory
};

// Of all network devices in our namespace; none where they cannot be listed.
std::vector<IpoibAddress> ipoib_addresses();

// The lower half of a port's GID; the upper one is its subnet's, and may change.
uint64_t port_guid_of(const ibv_gid& gid);

}  // namespace gd2fs::verbs
