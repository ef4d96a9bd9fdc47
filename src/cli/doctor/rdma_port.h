// RdmaPort: a port of an RDMA device as /sys/class/infiniband shows it: no library is needed for
// that, and a container sees it too. Plain values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/doctor/machine.h"

namespace gd2fs::cli::doctor {

struct RdmaPort {
  struct Address {
    std::string text;  // "192.168.1.1", "fd00::1"
    uint32_t gid_index = 0;
  };

  std::string device;  // "mlx5_0"
  std::string number;  // "1"
  std::string state;   // "ACTIVE", "DOWN"
  std::string rate;    // "400 Gb/sec (4X NDR)"
  std::string link_layer;
  uint32_t lid = 0;    // of InfiniBand; 0: no subnet manager has given it one
  std::string netdev;  // "" if there is none
  uint32_t netdev_mtu_bytes = 0;
  // Of RoCE v2 among its GIDs, of InfiniBand those of its network devices; link-local ones left
  // out.
  std::vector<Address> addresses;
  std::string uverbs;          // "/dev/infiniband/uverbs0", "" if the kernel has none for it
  bool uverbs_usable = false;  // we may open that

  bool ethernet() const { return link_layer == "Ethernet"; }
  bool infiniband() const { return link_layer == "InfiniBand"; }
  bool usable() const {
    return (ethernet() || (infiniband() && lid != 0)) && state == "ACTIVE" && uverbs_usable &&
           !addresses.empty();
  }
  std::string name() const { return device + " port " + number; }
};

std::vector<RdmaPort> rdma_ports(const Machine& machine);

// What a packet carries on RoCE when its Ethernet device carries `netdev_mtu_bytes`: 256..4096, 0
// if not even that. (The kernel's iboe_get_mtu(): 96 bytes go to headers.)
uint32_t rdma_mtu_bytes(uint32_t netdev_mtu_bytes);

}  // namespace gd2fs::cli::doctor
