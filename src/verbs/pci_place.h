// PciPlace: where a PCI device sits, and how far two of them are apart, from sysfs. Any thread;
// reads a link and a small file.
#pragma once

#include <cstdint>
#include <string>

namespace gd2fs::verbs {

struct PciPlace {
  std::string
      path;       // from the root complex down: "pci0000:00/0000:00:01.0/0000:01:00.0"; "": unknown
  int node = -1;  // NUMA; -1: unknown
};

// The nearest first.
enum class PciDistance : uint8_t {
  bridge,  // under one root port: bytes need not cross the root complex
  node,    // on one NUMA node
  far,     // or not known
};

// `folder`: a PCI device's, or a link to it, as /sys/class/infiniband/mlx5_0/device.
PciPlace place_of(const std::string& folder);
PciDistance distance_between(const PciPlace& one, const PciPlace& other);

}  // namespace gd2fs::verbs
