#include <cstdint>
#include <set>

#include "cli/doctor/checks.h"

namespace gd2fs::cli::doctor {
namespace {

constexpr const char* kArea = "gpu";
constexpr const char* kPciDevices = "/sys/bus/pci/devices/";

struct PciPaths {
  bool gpu = false;
  bool nic = false;
  std::set<std::string> bridges;  // above GPUs and NICs
};

bool is_gpu(const Machine& machine, const std::string& name) {
  return machine.read(kPciDevices + name + "/vendor") == "0x10de" &&
         machine.read(kPciDevices + name + "/class").starts_with("0x03");
}

// The PCI functions on the way from the root to a device, itself left out.
void add_bridges(const Machine& machine, const std::string& name, std::set<std::string>* out) {
  const std::string path = machine.resolve(kPciDevices + name);
  size_t begin = 0;
  while (begin < path.size()) {
    size_t end = path.find('/', begin);
    if (end == std::string::npos) end = path.size();
    const std::string part = path.substr(begin, end - begin);
    if (part != name && machine.read(kPciDevices + part + "/class").starts_with("0x0604")) {
      out->insert(part);
    }
    begin = end + 1;
  }
}

PciPaths pci_paths(const Machine& machine) {
  PciPaths paths;
  for (const std::string& name : machine.list(kPciDevices)) {
    const bool gpu = is_gpu(machine, name);
    const bool nic = !machine.list(kPciDevices + name + "/infiniband").empty();
    paths.gpu = paths.gpu || gpu;
    paths.nic = paths.nic || nic;
    if (gpu || nic) add_bridges(machine, name, &paths.bridges);
  }
  return paths;
}

// PCI Express extended capabilities: a list from byte 0x100 of the configuration space; each begins
// with 16 bits id, 4 bits version, 12 bits place of the next. Access control services: id 0xd, its
// control word at +6; bits 2 and 3 send requests and completions up to the root.
enum class Acs : uint8_t { unreadable, off, redirects };
Acs acs_of(const std::string& config) {
  constexpr size_t kFirst = 0x100;
  constexpr uint16_t kAcsId = 0xd;
  constexpr uint16_t kRedirects = 0x0c;
  const auto word = [&](size_t at) {
    return static_cast<uint16_t>(static_cast<uint8_t>(config[at]) |
                                 static_cast<uint8_t>(config[at + 1]) << 8U);
  };
  if (config.size() < kFirst + 4) return Acs::unreadable;  // an ordinary user sees 64 bytes
  size_t at = kFirst;
  for (int steps = 0; steps < 64 && at >= kFirst && at + 8 <= config.size(); ++steps) {
    if (word(at) == kAcsId) return (word(at + 6) & kRedirects) != 0 ? Acs::redirects : Acs::off;
    at = word(at + 2) >> 4U;
  }
  return Acs::off;
}

void check_acs(const Machine& machine, const PciPaths& paths, Findings* out) {
  std::string redirecting;
  size_t unreadable = 0;
  for (const std::string& bridge : paths.bridges) {
    const Acs acs = acs_of(machine.read_bytes(kPciDevices + bridge + "/config"));
    if (acs == Acs::redirects) redirecting += (redirecting.empty() ? "" : " ") + bridge;
    if (acs == Acs::unreadable) ++unreadable;
  }
  if (!redirecting.empty()) {
    out->push_back({kArea, "ACS", Level::note,
                    "these bridges send NIC-to-GPU traffic up through the root: " + redirecting,
                    "turn ACS off in the firmware, or for each: setpci -s BRIDGE ECAP_ACS+6.w=0"});
  } else if (unreadable > 0) {
    out->push_back({kArea, "ACS", Level::note,
                    std::to_string(unreadable) + " bridges whose settings only root may read",
                    "run as root"});
  } else {
    out->push_back({kArea, "ACS", Level::ok, "no bridge above a GPU or NIC redirects", ""});
  }
}

void check_iommu(const Machine& machine, Findings* out) {
  if (machine.list("/sys/class/iommu").empty()) {
    out->push_back({kArea, "IOMMU", Level::ok, "off", ""});
    return;
  }
  const std::string options = " " + machine.read("/proc/cmdline") + " ";
  const bool through = options.find(" iommu=pt ") != std::string::npos;
  out->push_back({kArea, "IOMMU", through ? Level::ok : Level::note,
                  through ? "on, passing through (iommu=pt)"
                          : "on: addresses may be translated between NIC and GPU",
                  through ? "" : "kernel option iommu=pt, or turn it off in the firmware"});
}

void check_driver(const Machine& machine, const std::string& driver, const Needs& needs,
                  Findings* out) {
  const bool open_modules = driver.find("Open Kernel Module") != std::string::npos;
  const bool peermem = machine.exists("/sys/module/nvidia_peermem");
  if (open_modules) {
    out->push_back(
        {kArea, "dmabuf", Level::ok, "the driver's open kernel modules can export GPU memory", ""});
  } else {
    out->push_back({kArea, "dmabuf", peermem ? Level::note : needs.lack_of_gpu_direct(),
                    "the driver's closed kernel modules cannot export GPU memory",
                    "install the open kernel modules" +
                        std::string(peermem ? "; nvidia_peermem does meanwhile" : "")});
  }
  if (peermem) {
    out->push_back({kArea, "nvidia_peermem", Level::ok, "loaded", ""});
  } else {
    out->push_back({kArea, "nvidia_peermem", open_modules ? Level::ok : needs.lack_of_gpu_direct(),
                    open_modules ? "not loaded; dmabuf comes first anyway" : "not loaded",
                    open_modules ? "" : "modprobe nvidia_peermem"});
  }
}

}  // namespace

void check_gpu_direct(const Machine& machine, const Needs& needs, Findings* out) {
  const std::string driver = machine.read("/proc/driver/nvidia/version");
  if (driver.empty()) {
    out->push_back(
        {kArea, "driver", needs.lack_of_gpu_direct(), "no NVIDIA driver",
         needs.gpu_direct ? "install it; in a container: the NVIDIA container toolkit" : ""});
    return;
  }
  out->push_back({kArea, "driver", Level::ok, driver.substr(0, driver.find('\n')), ""});
  check_driver(machine, driver, needs, out);
  const PciPaths paths = pci_paths(machine);
  if (!paths.gpu || !paths.nic) return;
  check_acs(machine, paths, out);
  check_iommu(machine, out);
}

}  // namespace gd2fs::cli::doctor
