#include <algorithm>

#include "cli/doctor/checks.h"

namespace gd2fs::cli::doctor {
namespace {

constexpr const char* kArea = "rdma";

void check_library(const Machine& machine, const Needs& needs, Findings* out) {
  if (machine.verbs_library) {
    out->push_back({kArea, "library", Level::ok, "libibverbs.so.1 is there", ""});
    return;
  }
  out->push_back({kArea, "library", needs.lack_of_rdma(),
                  machine.verbs_library_why + ": no RDMA; TCP and shared memory do without",
                  "apt-get install libibverbs1 ibverbs-providers, or the vendor's packages"});
}

std::string netdev_name(const RdmaPort& port) {
  return port.netdev.empty() ? "its network device" : port.netdev;
}

constexpr const char* kSubnetManager =
    "let a subnet manager run in this network: the switch's, or on one host apt-get install "
    "opensm; "
    "systemctl start opensm";

void check_infiniband_state(const RdmaPort& port, const std::string& text, Findings* out) {
  Level level = Level::note;
  std::string found = text;
  std::string remedy;
  if (port.state == "INIT" || port.state == "ARMED" || (port.state == "ACTIVE" && port.lid == 0)) {
    found += ": no subnet manager has given it a place";
    remedy = kSubnetManager;
  } else if (port.state == "ACTIVE") {
    level = Level::ok;
    found += ", LID " + std::to_string(port.lid);
  } else {
    remedy = "look at the cable and the switch's port";
  }
  out->push_back({kArea, port.name(), level, found, remedy});
}

// The port itself: its state and what it is connected to.
void check_state(const RdmaPort& port, Findings* out) {
  const std::string text = port.state + ", " + port.rate + ", " + port.link_layer +
                           (port.netdev.empty() ? "" : ", " + port.netdev);
  if (port.infiniband()) return check_infiniband_state(port, text, out);
  if (!port.ethernet()) {
    out->push_back({kArea, port.name(), Level::note,
                    text + ": only RoCE v2 and InfiniBand are spoken here", "use another port"});
    return;
  }
  const bool active = port.state == "ACTIVE";
  out->push_back({kArea, port.name(), active ? Level::ok : Level::note, text,
                  active ? ""
                         : "ip link set " + netdev_name(port) +
                               " up; look at the cable and the switch's port"});
}

void check_infiniband_addresses(const RdmaPort& port, Findings* out) {
  std::string text;
  for (const RdmaPort::Address& each : port.addresses) {
    text += (text.empty() ? "" : ", ") + each.text;
  }
  const std::string netdev = port.netdev.empty() ? "ib0" : port.netdev;
  out->push_back({kArea, port.name() + " IPoIB", text.empty() ? Level::note : Level::ok,
                  text.empty() ? "no address for rdma://" : text,
                  text.empty() ? "modprobe ib_ipoib; ip link set " + netdev +
                                     " up; ip addr add ADDRESS/PREFIX dev " + netdev +
                                     "; in a container the device must be in its network namespace"
                               : ""});
}

void check_addresses(const RdmaPort& port, Findings* out) {
  if (port.infiniband()) return check_infiniband_addresses(port, out);
  if (port.addresses.empty()) {
    out->push_back({kArea, port.name() + " GIDs", Level::note, "no address for rdma://",
                    "ip addr add ADDRESS/PREFIX dev " + netdev_name(port) +
                        "; in a container the address must be in its own network namespace"});
    return;
  }
  std::string text;
  for (const RdmaPort::Address& each : port.addresses) {
    text +=
        (text.empty() ? "" : ", ") + each.text + " (GID " + std::to_string(each.gid_index) + ")";
  }
  out->push_back({kArea, port.name() + " GIDs", Level::ok, text, ""});
}

void check_mtu(const RdmaPort& port, Findings* out) {
  // That of InfiniBand is the subnet manager's, whatever the network device has.
  if (port.netdev_mtu_bytes == 0 || port.infiniband()) return;
  const uint32_t mtu = rdma_mtu_bytes(port.netdev_mtu_bytes);
  const std::string text = std::to_string(mtu) + " bytes in a packet (" + port.netdev + " has " +
                           std::to_string(port.netdev_mtu_bytes) + ")";
  const bool full = mtu == 4096;
  out->push_back({kArea, port.name() + " MTU", full ? Level::ok : Level::note, text,
                  full ? ""
                       : "ip link set dev " + port.netdev +
                             " mtu 9000 (4200 will do), on every host and switch of the network"});
}

void check_device_file(const RdmaPort& port, const Needs& needs, Findings* out) {
  if (port.uverbs_usable) return;
  const std::string remedy =
      port.uverbs.empty()
          ? "modprobe ib_uverbs"
          : "in a container: docker run --device=/dev/infiniband, in Kubernetes an RDMA device "
            "plugin; else the file's owner and mode (udev rules of rdma-core)";
  out->push_back({kArea, port.device + " device file", needs.lack_of_rdma(),
                  port.uverbs.empty() ? "the kernel offers none"
                                      : port.uverbs + " is not here, or may not be opened",
                  remedy});
}

// Whether this local address can be a rail.
void check_rail(const std::vector<RdmaPort>& ports, const std::string& address, const Needs& needs,
                Findings* out) {
  const std::string subject = "rail " + address;
  for (const RdmaPort& port : ports) {
    const auto found = std::find_if(port.addresses.begin(), port.addresses.end(),
                                    [&](const auto& each) { return each.text == address; });
    if (found == port.addresses.end()) continue;
    const std::string where =
        port.name() + (port.infiniband() ? ", LID " + std::to_string(port.lid)
                                         : ", GID " + std::to_string(found->gid_index));
    if (port.usable()) {
      out->push_back({kArea, subject, Level::ok, where, ""});
    } else {
      out->push_back({kArea, subject, needs.lack_of_rdma(), where + ", which cannot be used",
                      "what is said of that port and its device above"});
    }
    return;
  }
  std::string choice;
  for (const RdmaPort& port : ports) {
    for (const auto& each : port.addresses) choice += (choice.empty() ? "" : ", ") + each.text;
  }
  out->push_back({kArea, subject, needs.lack_of_rdma(), "no RDMA device has this address",
                  choice.empty() ? "give the NIC's network device this address"
                                 : "those that RDMA devices have: " + choice});
}

}  // namespace

void check_rdma(const Machine& machine, const Needs& needs, const std::vector<std::string>& wanted,
                Findings* out) {
  check_library(machine, needs, out);
  const std::vector<RdmaPort> ports = rdma_ports(machine);
  if (ports.empty()) {
    out->push_back({kArea, "devices", needs.lack_of_rdma(), "no RDMA device",
                    "load the NIC's driver (mlx5_ib, bnxt_re, irdma); for a trial without a NIC "
                    "there is soft-RoCE, docs/rdma.md"});
  }
  std::string device;
  for (const RdmaPort& port : ports) {
    if (port.device != device) check_device_file(port, needs, out);
    device = port.device;
    check_state(port, out);
    if (!port.ethernet() && !port.infiniband()) continue;
    check_addresses(port, out);
    check_mtu(port, out);
  }
  if (!ports.empty() && std::none_of(ports.begin(), ports.end(),
                                     [](const RdmaPort& port) { return port.usable(); })) {
    out->push_back(
        {kArea, "devices", needs.lack_of_rdma(), "no port can be used", "mend one of those above"});
  }
  for (const std::string& address : wanted) check_rail(ports, address, needs, out);
}

}  // namespace gd2fs::cli::doctor
