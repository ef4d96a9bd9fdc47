#include "cli/doctor/rdma_port.h"

#include <charconv>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace gd2fs::cli::doctor {
namespace {

constexpr const char* kDevices = "/sys/class/infiniband/";
constexpr const char* kUserVerbs = "/sys/class/infiniband_verbs/";

// "4: ACTIVE" -> "ACTIVE"
std::string after_colon(const std::string& text) {
  const size_t colon = text.find(": ");
  return colon == std::string::npos ? text : text.substr(colon + 2);
}

uint32_t number(const std::string& text) {
  uint32_t value = 0;
  if (text.starts_with("0x")) {
    std::from_chars(text.data() + 2, text.data() + text.size(), value, 16);
    return value;
  }
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// A GID as sysfs writes it, as the address that it stands for; "" if none that can be connected to.
std::string address_of(const std::string& gid) {
  in6_addr raw{};
  if (inet_pton(AF_INET6, gid.c_str(), &raw) != 1) return {};
  if (IN6_IS_ADDR_UNSPECIFIED(&raw) || IN6_IS_ADDR_LINKLOCAL(&raw)) return {};
  char text[INET6_ADDRSTRLEN] = {};
  const bool v4 = IN6_IS_ADDR_V4MAPPED(&raw);
  const void* bytes = v4 ? static_cast<const void*>(&raw.s6_addr[12]) : &raw;
  inet_ntop(v4 ? AF_INET : AF_INET6, bytes, text, sizeof text);
  return text;
}

void read_addresses(const Machine& machine, const std::string& folder, RdmaPort* port) {
  if (port->infiniband()) {
    const std::string gid = machine.read(folder + "/gids/0");
    for (const Machine::IpoibAddress& one : machine.ipoib_addresses) {
      if (!gid.ends_with(":" + one.port_guid)) continue;
      port->addresses.push_back({one.text, 0});
      port->netdev = one.interface;
    }
    return;
  }
  const std::string gids = folder + "/gids/";
  const std::string types = folder + "/gid_attrs/types/";
  for (const std::string& index : machine.list(gids)) {
    const std::string address = address_of(machine.read(gids + index));
    if (address.empty()) continue;
    if (machine.read(types + index) != "RoCE v2") continue;
    port->addresses.push_back({address, number(index)});
  }
}

// The Ethernet device that a port stands on: of its first GID, or, without one, beside it on the
// bus.
std::string netdev_of(const Machine& machine, const std::string& device,
                      const std::string& folder) {
  if (std::string name = machine.read(folder + "/gid_attrs/ndevs/0"); !name.empty()) return name;
  const auto beside = machine.list(kDevices + device + "/device/net");
  return beside.empty() ? machine.read(kDevices + device + "/parent") : beside.front();
}

std::string uverbs_of(const Machine& machine, const std::string& device) {
  for (const std::string& name : machine.list(kUserVerbs)) {
    const std::string folder = kUserVerbs + name;
    if (machine.read(folder + "/ibdev") == device) return "/dev/infiniband/" + name;
  }
  return {};
}

}  // namespace

std::vector<RdmaPort> rdma_ports(const Machine& machine) {
  std::vector<RdmaPort> ports;
  for (const std::string& device : machine.list(kDevices)) {
    const std::string uverbs = uverbs_of(machine, device);
    const std::string device_folder = kDevices + device;
    const std::string ports_folder = device_folder + "/ports/";
    for (const std::string& name : machine.list(ports_folder)) {
      const std::string folder = ports_folder + name;
      RdmaPort port;
      port.device = device;
      port.number = name;
      port.state = after_colon(machine.read(folder + "/state"));
      port.rate = machine.read(folder + "/rate");
      port.link_layer = machine.read(folder + "/link_layer");
      if (port.infiniband()) port.lid = number(machine.read(folder + "/lid"));
      port.netdev = netdev_of(machine, device, folder);
      if (!port.netdev.empty()) {
        port.netdev_mtu_bytes = number(machine.read("/sys/class/net/" + port.netdev + "/mtu"));
      }
      read_addresses(machine, folder, &port);
      port.uverbs = uverbs;
      port.uverbs_usable = !uverbs.empty() && machine.may_open(uverbs);
      ports.push_back(std::move(port));
    }
  }
  return ports;
}

uint32_t rdma_mtu_bytes(uint32_t netdev_mtu_bytes) {
  constexpr uint32_t kHeaderBytes = 96;
  for (uint32_t mtu = 4096; mtu >= 256; mtu /= 2) {
    if (netdev_mtu_bytes >= mtu + kHeaderBytes) return mtu;
  }
  return 0;
}

}  // namespace gd2fs::cli::doctor
