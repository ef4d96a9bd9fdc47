// The checks over trees of files as kernels with such devices show them.
#include "cli/doctor/checks.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "verbs/test_interfaces.h"

namespace gd2fs::cli::doctor {
namespace {

namespace fs = std::filesystem;

struct DoctorTest : ::testing::Test {
  DoctorTest() {
    std::string pattern = ::testing::TempDir() + "/gd2fs-doctor-XXXXXX";
    machine.root = fs::canonical(::mkdtemp(pattern.data())).string();
    machine.verbs_library = true;
  }
  ~DoctorTest() override { fs::remove_all(machine.root); }

  void file(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(machine.root + path).parent_path());
    std::ofstream(machine.root + path, std::ios::binary) << text;
  }
  void gid(const std::string& port, const std::string& index, const std::string& value,
           const std::string& type) {
    file(port + "/gids/" + index, value + "\n");
    file(port + "/gid_attrs/types/" + index, type + "\n");
  }
  // One port of 400G Ethernet with an IPv4 and an IPv6 address.
  std::string port(const std::string& device, const std::string& netdev, const std::string& state,
                   const std::string& mtu) {
    const std::string folder = "/sys/class/infiniband/" + device + "/ports/1";
    file(folder + "/state", state + "\n");
    file(folder + "/rate", "400 Gb/sec (4X NDR)\n");
    file(folder + "/link_layer", "Ethernet\n");
    file(folder + "/gid_attrs/ndevs/0", netdev + "\n");
    gid(folder, "0", "fe80:0000:0000:0000:0000:00ff:fe00:0000", "RoCE v2");
    gid(folder, "1", "0000:0000:0000:0000:0000:ffff:c0a8:0164", "IB/RoCE v1");
    gid(folder, "2", "0000:0000:0000:0000:0000:ffff:c0a8:0164", "RoCE v2");
    gid(folder, "3", "fd77:0000:0000:0000:0000:0000:0000:0001", "RoCE v2");
    gid(folder, "4", "0000:0000:0000:0000:0000:0000:0000:0000", "");
    file("/sys/class/net/" + netdev + "/mtu", mtu + "\n");
    return folder;
  }
  void uverbs(const std::string& name, const std::string& device) {
    file("/sys/class/infiniband_verbs/" + name + "/ibdev", device + "\n");
    file("/dev/infiniband/" + name, "");
  }

  // The one finding of that subject.
  Finding about(const Findings& findings, const std::string& subject) {
    Finding only;
    int count = 0;
    for (const Finding& each : findings) {
      if (each.subject != subject) continue;
      only = each;
      ++count;
    }
    EXPECT_EQ(count, 1) << subject;
    EXPECT_EQ(only.level == Level::ok, only.remedy.empty()) << subject << ": " << only.remedy;
    return only;
  }
  static bool any_missing(const Findings& findings) {
    return std::any_of(findings.begin(), findings.end(),
                       [](const Finding& each) { return each.level == Level::missing; });
  }
  Findings rdma(Needs needs = {}, const std::vector<std::string>& wanted = {}) {
    Findings findings;
    check_rdma(machine, needs, wanted, &findings);
    return findings;
  }
  Findings gpu(Needs needs = {}) {
    Findings findings;
    check_gpu_direct(machine, needs, &findings);
    return findings;
  }
  Findings memory(Needs needs = {}) {
    Findings findings;
    check_memory(machine, needs, &findings);
    return findings;
  }

  Machine machine;
};

TEST_F(DoctorTest, a_healthy_port_is_shown_with_its_addresses_and_full_packets) {
  port("mlx5_0", "ens1", "4: ACTIVE", "9000");
  uverbs("uverbs0", "mlx5_0");
  const Findings findings = rdma({.rdma = true}, {"192.168.1.100", "fd77::1"});
  for (const Finding& each : findings) EXPECT_EQ(each.level, Level::ok) << each.subject;
  EXPECT_EQ(about(findings, "mlx5_0 port 1").found, "ACTIVE, 400 Gb/sec (4X NDR), Ethernet, ens1");
  EXPECT_EQ(about(findings, "mlx5_0 port 1 GIDs").found, "192.168.1.100 (GID 2), fd77::1 (GID 3)");
  EXPECT_EQ(about(findings, "mlx5_0 port 1 MTU").found, "4096 bytes in a packet (ens1 has 9000)");
  EXPECT_EQ(about(findings, "rail 192.168.1.100").found, "mlx5_0 port 1, GID 2");
  EXPECT_EQ(about(findings, "rail fd77::1").found, "mlx5_0 port 1, GID 3");
}

TEST_F(DoctorTest, nothing_of_rdma_is_missing_unless_it_is_needed) {
  machine.verbs_library = false;
  machine.verbs_library_why = "cannot open shared object file";
  EXPECT_FALSE(any_missing(rdma()));
  const Findings needed = rdma({.rdma = true});
  EXPECT_EQ(about(needed, "library").level, Level::missing);
  EXPECT_NE(about(needed, "library").remedy.find("ibverbs-providers"), std::string::npos);
  EXPECT_EQ(about(needed, "devices").level, Level::missing);
}

TEST_F(DoctorTest, a_port_that_is_down_is_no_lack_while_another_one_works) {
  port("mlx5_0", "ens1", "1: DOWN", "9000");
  uverbs("uverbs0", "mlx5_0");
  const Needs needs{.rdma = true};
  EXPECT_EQ(about(rdma(needs), "devices").found, "no port can be used");
  port("mlx5_1", "ens2", "4: ACTIVE", "9000");
  uverbs("uverbs1", "mlx5_1");
  const Findings findings = rdma(needs);
  EXPECT_FALSE(any_missing(findings));
  EXPECT_EQ(about(findings, "mlx5_0 port 1").level, Level::note);
  EXPECT_NE(about(findings, "mlx5_0 port 1").remedy.find("ip link set ens1 up"), std::string::npos);
}

TEST_F(DoctorTest, a_container_without_the_device_file_is_told_how_to_get_it) {
  port("mlx5_0", "ens1", "4: ACTIVE", "9000");
  const Needs needs{.rdma = true};
  EXPECT_EQ(about(rdma(needs), "mlx5_0 device file").remedy, "modprobe ib_uverbs");
  uverbs("uverbs0", "mlx5_0");
  fs::remove(machine.root + "/dev/infiniband/uverbs0");
  const Findings findings = rdma(needs, {"fd77::1"});
  EXPECT_EQ(about(findings, "mlx5_0 device file").level, Level::missing);
  EXPECT_NE(about(findings, "mlx5_0 device file").remedy.find("/dev/infiniband"),
            std::string::npos);
  EXPECT_EQ(about(findings, "rail fd77::1").level, Level::missing);
}

TEST_F(DoctorTest, an_address_that_no_device_has_cannot_be_a_rail) {
  port("mlx5_0", "ens1", "4: ACTIVE", "9000");
  uverbs("uverbs0", "mlx5_0");
  const Finding rail = about(rdma({}, {"10.0.0.1"}), "rail 10.0.0.1");
  EXPECT_EQ(rail.level, Level::note);
  EXPECT_NE(rail.remedy.find("192.168.1.100, fd77::1"), std::string::npos);
  EXPECT_EQ(about(rdma({.rdma = true}, {"10.0.0.1"}), "rail 10.0.0.1").level, Level::missing);
}

TEST_F(DoctorTest, link_local_and_old_roce_gids_are_no_addresses) {
  const std::string folder = port("mlx5_0", "ens1", "4: ACTIVE", "9000");
  uverbs("uverbs0", "mlx5_0");
  fs::remove(machine.root + folder + "/gids/2");
  fs::remove(machine.root + folder + "/gids/3");
  const Finding gids = about(rdma(), "mlx5_0 port 1 GIDs");
  EXPECT_EQ(gids.level, Level::note);
  EXPECT_NE(gids.remedy.find("dev ens1"), std::string::npos);
}

TEST_F(DoctorTest, small_packets_are_noted) {
  EXPECT_EQ(rdma_mtu_bytes(9000), 4096u);
  EXPECT_EQ(rdma_mtu_bytes(4192), 4096u);
  EXPECT_EQ(rdma_mtu_bytes(4191), 2048u);
  EXPECT_EQ(rdma_mtu_bytes(1500), 1024u);
  EXPECT_EQ(rdma_mtu_bytes(300), 0u);
  port("mlx5_0", "ens1", "4: ACTIVE", "1500");
  uverbs("uverbs0", "mlx5_0");
  const Finding mtu = about(rdma(), "mlx5_0 port 1 MTU");
  EXPECT_EQ(mtu.level, Level::note);
  EXPECT_EQ(mtu.found, "1024 bytes in a packet (ens1 has 1500)");
}

TEST_F(DoctorTest, a_port_of_another_kind_is_not_taken_for_one_of_ethernet) {
  const std::string folder = port("mlx5_0", "x0", "4: ACTIVE", "4092");
  uverbs("uverbs0", "mlx5_0");
  file(folder + "/link_layer", "Unknown\n");
  const Findings findings = rdma({.rdma = true});
  EXPECT_EQ(about(findings, "mlx5_0 port 1").level, Level::note);
  EXPECT_EQ(about(findings, "devices").level, Level::missing);
}

struct DoctorInfiniBandTest : DoctorTest {
  const Needs needs{.rdma = true};
  // As a kernel shows it: the GID of its GUID alone, a LID, an IPoIB device.
  std::string folder = "/sys/class/infiniband/mlx5_0/ports/1";
  DoctorInfiniBandTest() {
    shows("4: ACTIVE", "0x1b");
    file(folder + "/rate", "400 Gb/sec (4X NDR)\n");
    file(folder + "/link_layer", "InfiniBand\n");
    gid(folder, "0", "fe80:0000:0000:0000:0002:c903:00ab:cdef", "IB/RoCE v1");
    file("/sys/class/infiniband/mlx5_0/device/net/ib0/mtu", "2044\n");
    uverbs("uverbs0", "mlx5_0");
    machine.ipoib_addresses = {{"10.1.0.7", "ib0", "0002:c903:00ab:cdef"},
                               {"10.1.0.8", "ib1", "0002:c903:00ab:cdf0"}};
  }
  void shows(const std::string& state, const std::string& lid) {
    file(folder + "/state", state + "\n");
    file(folder + "/lid", lid + "\n");
  }
};

TEST_F(DoctorInfiniBandTest, a_healthy_port_has_the_addresses_of_its_network_device) {
  const Findings findings = rdma(needs, {"10.1.0.7"});
  for (const Finding& each : findings) EXPECT_EQ(each.level, Level::ok) << each.subject;
  EXPECT_EQ(about(findings, "mlx5_0 port 1").found,
            "ACTIVE, 400 Gb/sec (4X NDR), InfiniBand, ib0, LID 27");
  EXPECT_EQ(about(findings, "mlx5_0 port 1 IPoIB").found, "10.1.0.7");
  EXPECT_EQ(about(findings, "rail 10.1.0.7").found, "mlx5_0 port 1, LID 27");
  EXPECT_EQ(about(rdma(needs, {"10.1.0.8"}), "rail 10.1.0.8").level, Level::missing);
}

TEST_F(DoctorInfiniBandTest, a_network_without_a_subnet_manager_is_told_to_start_one) {
  for (const auto& [state, lid] : {std::pair("2: INIT", "0x0"), std::pair("4: ACTIVE", "0x0")}) {
    shows(state, lid);
    const Findings findings = rdma(needs);
    EXPECT_EQ(about(findings, "mlx5_0 port 1").level, Level::note);
    EXPECT_NE(about(findings, "mlx5_0 port 1").remedy.find("opensm"), std::string::npos);
    EXPECT_EQ(about(findings, "devices").level, Level::missing);
  }
  shows("1: DOWN", "0x0");
  EXPECT_NE(about(rdma(), "mlx5_0 port 1").remedy.find("cable"), std::string::npos);
}

TEST_F(DoctorInfiniBandTest, network_devices_are_told_by_the_ports_that_they_stand_on) {
  const auto all = Machine::this_one().ipoib_addresses;
  const auto found = std::ranges::find(all, "ib1", &Machine::IpoibAddress::interface);
  ASSERT_NE(found, all.end());
  EXPECT_EQ(found->text, "127.0.0.2");
  EXPECT_EQ(found->port_guid, "0200:0000:0000:0002");
}

TEST_F(DoctorInfiniBandTest, a_port_without_ipoib_is_told_how_to_get_an_address) {
  machine.ipoib_addresses.clear();
  const Finding finding = about(rdma(needs), "mlx5_0 port 1 IPoIB");
  EXPECT_EQ(finding.level, Level::note);
  EXPECT_NE(finding.remedy.find("dev ib0"), std::string::npos);
}

TEST_F(DoctorTest, ports_come_in_the_order_of_counting) {
  for (const char* name : {"mlx5_10", "mlx5_2", "irdma0"}) port(name, name, "4: ACTIVE", "9000");
  const std::vector<RdmaPort> ports = rdma_ports(machine);
  ASSERT_EQ(ports.size(), 3u);
  EXPECT_EQ(ports[0].device, "irdma0");
  EXPECT_EQ(ports[1].device, "mlx5_2");
  EXPECT_EQ(ports[2].device, "mlx5_10");
}

TEST_F(DoctorTest, the_limit_of_locked_memory_counts_only_for_those_it_binds) {
  machine.memlock_bytes = UINT64_MAX;
  EXPECT_EQ(about(memory({.rdma = true}), "memlock").level, Level::ok);
  machine.memlock_bytes = 8 << 20;
  file("/proc/self/status", "Name:\tgd2fs\nCapEff:\t0000000000000000\n");
  EXPECT_EQ(about(memory(), "memlock").level, Level::note);
  EXPECT_EQ(about(memory({.rdma = true}), "memlock").level, Level::missing);
  file("/proc/self/status", "Name:\tgd2fs\nCapEff:\t0000000000004000\n");
  EXPECT_EQ(about(memory({.rdma = true}), "memlock").level, Level::ok);
}

TEST_F(DoctorTest, huge_pages_are_reserved_or_transparent_or_neither) {
  EXPECT_EQ(about(memory(), "huge pages").level, Level::note);
  const std::string shmem = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
  file(shmem, "always within_size advise [never] deny force\n");
  file("/proc/sys/kernel/osrelease", "5.15.0-91-generic\n");
  EXPECT_EQ(about(memory(), "huge pages").level, Level::note);
  file("/proc/sys/kernel/osrelease", "6.1.0-56-amd64\n");
  EXPECT_EQ(about(memory(), "huge pages").level, Level::ok);
  file("/proc/sys/kernel/osrelease", "5.15.0-91-generic\n");
  file(shmem, "always within_size [advise] never deny force\n");
  EXPECT_EQ(about(memory(), "huge pages").level, Level::ok);
  file("/proc/meminfo",
       "HugePages_Total:     512\nHugePages_Free:      500\nHugepagesize: 2048 kB\n");
  EXPECT_EQ(about(memory(), "huge pages").found, "500 of 512 reserved pages of 2048 KiB are free");
}

TEST_F(DoctorTest, io_uring_is_told_apart_from_its_absence_and_who_forbids_it) {
  Findings findings;
  check_io_uring(machine, &findings);
  EXPECT_EQ(about(findings, "io_uring").level, Level::ok);
  machine.io_uring_errno = EPERM;
  findings.clear();
  check_io_uring(machine, &findings);
  EXPECT_NE(about(findings, "io_uring").remedy.find("seccomp"), std::string::npos);
  file("/proc/sys/kernel/io_uring_disabled", "2\n");
  findings.clear();
  check_io_uring(machine, &findings);
  EXPECT_EQ(about(findings, "io_uring").remedy, "sysctl kernel.io_uring_disabled=0");
}

struct DoctorGpuTest : DoctorTest {
  static constexpr const char* kBridge = "0000:00:01.0";

  void driver(const std::string& text) { file("/proc/driver/nvidia/version", text); }
  void pci(const std::string& path, const std::string& vendor, const std::string& kind) {
    const std::string folder = "/sys/devices/pci0000:00/" + path;
    file(folder + "/vendor", vendor + "\n");
    file(folder + "/class", kind + "\n");
    fs::create_directories(machine.root + "/sys/bus/pci/devices");
    fs::create_directory_symlink(
        "../../../devices/pci0000:00/" + path,
        machine.root + "/sys/bus/pci/devices/" + fs::path(path).filename().string());
  }
  // A GPU and a NIC below one bridge.
  void gpu_and_nic() {
    pci(kBridge, "0x8086", "0x060400");
    pci(std::string(kBridge) + "/0000:01:00.0", "0x10de", "0x030200");
    pci(std::string(kBridge) + "/0000:02:00.0", "0x15b3", "0x020000");
    fs::create_directories(machine.root + "/sys/bus/pci/devices/0000:02:00.0/infiniband/mlx5_0");
  }
  // The bridge's configuration space: one other capability, then ACS with this control word.
  void acs(uint16_t control) {
    std::string config(4096, '\0');
    const auto word = [&](size_t at, unsigned value) {
      config[at] = static_cast<char>(value & 0xFFU);
      config[at + 1] = static_cast<char>(value >> 8U);
    };
    word(0x100, 0x0001);
    word(0x102, 0x2001);  // the next lies at 0x200
    word(0x200, 0x000d);
    word(0x202, 0x0001);
    word(0x206, control);
    file(std::string("/sys/bus/pci/devices/") + kBridge + "/config", config);
  }
};

TEST_F(DoctorGpuTest, a_machine_without_a_gpu_lacks_one_only_if_asked) {
  Findings findings = gpu();
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].level, Level::note);
  findings = gpu({.gpu_direct = true});
  EXPECT_EQ(about(findings, "driver").level, Level::missing);
}

TEST_F(DoctorGpuTest, one_of_dmabuf_and_peermem_is_enough) {
  const Needs needs{.gpu_direct = true};
  driver("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54\nGCC version: 12\n");
  EXPECT_TRUE(any_missing(gpu(needs)));
  EXPECT_EQ(about(gpu(needs), "nvidia_peermem").remedy, "modprobe nvidia_peermem");
  file("/sys/module/nvidia_peermem/refcnt", "0\n");
  EXPECT_FALSE(any_missing(gpu(needs)));
  fs::remove_all(machine.root + "/sys/module");
  driver("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86\nGCC version: 12\n");
  EXPECT_FALSE(any_missing(gpu(needs)));
  EXPECT_EQ(about(gpu(needs), "driver").found,
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86");
}

TEST_F(DoctorGpuTest, bridges_that_redirect_are_named) {
  driver("NVIDIA UNIX Open Kernel Module\n");
  gpu_and_nic();
  acs(0x001d);
  EXPECT_NE(about(gpu(), "ACS").found.find(kBridge), std::string::npos);
  EXPECT_NE(about(gpu(), "ACS").remedy.find("ECAP_ACS"), std::string::npos);
  acs(0x0011);  // source validation and upstream forwarding only
  EXPECT_EQ(about(gpu(), "ACS").level, Level::ok);
  file(std::string("/sys/bus/pci/devices/") + kBridge + "/config", std::string(64, '\0'));
  EXPECT_EQ(about(gpu(), "ACS").remedy, "run as root");
}

TEST_F(DoctorGpuTest, an_iommu_that_translates_is_noted) {
  driver("NVIDIA UNIX Open Kernel Module\n");
  gpu_and_nic();
  acs(0);
  EXPECT_EQ(about(gpu(), "IOMMU").level, Level::ok);
  file("/sys/class/iommu/dmar0/x", "");
  file("/proc/cmdline", "root=/dev/sda1 ro\n");
  EXPECT_EQ(about(gpu(), "IOMMU").level, Level::note);
  file("/proc/cmdline", "root=/dev/sda1 iommu=pt\n");
  EXPECT_EQ(about(gpu(), "IOMMU").level, Level::ok);
}

}  // namespace
}  // namespace gd2fs::cli::doctor
