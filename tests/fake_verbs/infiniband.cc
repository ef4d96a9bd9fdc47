// What ports of InfiniBand have of their own.
#include <cstring>

#include "world.h"

namespace fake_verbs {

void World::set_subnet(Device& device, uint16_t lid, uint64_t prefix) {
  device.lid = lid;
  const uint64_t big_endian = __builtin_bswap64(prefix);
  std::memcpy(device.guid.gid.raw, &big_endian, sizeof big_endian);
}

// Whether what `pair` sends comes to the port of `peer`.
bool World::leads_to(const Pair& pair, const Pair& peer) {
  const Device& from = *pair.device;
  const Device& to = *peer.device;
  if (from.infiniband != to.infiniband) return false;
  if (!from.infiniband) return true;  // by its number alone
  const ibv_gid& gid = to.guid.gid;
  const bool same_subnet = std::memcmp(from.guid.gid.raw, gid.raw, 8) == 0;
  if (pair.way.is_global == 0 && !same_subnet) return false;
  if (pair.way.is_global != 0 && std::memcmp(pair.way.grh.dgid.raw, gid.raw, 16) != 0) return false;
  return from.lid != 0 && pair.way.dlid == to.lid && pair.partition_key == peer.partition_key;
}

}  // namespace fake_verbs
