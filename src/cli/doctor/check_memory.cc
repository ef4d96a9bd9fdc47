#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/bytes.h"
#include "cli/doctor/checks.h"

namespace gd2fs::cli::doctor {
namespace {

constexpr const char* kArea = "memory";
constexpr unsigned kCapIpcLock = 14;

// The number behind "NAME:" in a file of such lines; 0 if there is none.
uint64_t line_number(const std::string& text, const std::string& name, int base) {
  const size_t at = text.find(name + ":");
  if (at == std::string::npos) return 0;
  const size_t begin = text.find_first_not_of(" \t", at + name.size() + 1);
  if (begin == std::string::npos) return 0;
  uint64_t value = 0;
  std::from_chars(text.data() + begin, text.data() + text.size(), value, base);
  return value;
}

void check_memlock(const Machine& machine, const Needs& needs, Findings* out) {
  const uint64_t capabilities = line_number(machine.read("/proc/self/status"), "CapEff", 16);
  if (machine.memlock_bytes == UINT64_MAX) {
    out->push_back({kArea, "memlock", Level::ok, "no limit", ""});
    return;
  }
  const std::string limit = std::to_string(machine.memlock_bytes / kKiB) + " KiB";
  if ((capabilities >> kCapIpcLock & 1U) != 0) {
    out->push_back({kArea, "memlock", Level::ok,
                    "limit " + limit + ", which this user's CAP_IPC_LOCK lifts", ""});
    return;
  }
  out->push_back(
      {kArea, "memlock", needs.lack_of_rdma(),
       "limit " + limit + ": RDMA can register no more than that of a process's memory",
       "ulimit -l unlimited (/etc/security/limits.conf); systemd: LimitMEMLOCK=infinity; "
       "docker: --ulimit memlock=-1; Kubernetes: the container runtime's LimitMEMLOCK, or "
       "capability IPC_LOCK"});
}

// Linux 6.1 and newer make a slab's pages huge when asked, whatever shmem_enabled says
// (MADV_COLLAPSE); older ones do as it says.
bool collapses(const std::string& release) {
  unsigned major = 0;
  unsigned minor = 0;
  const char* end = release.data() + release.size();
  const auto [dot, error] = std::from_chars(release.data(), end, major);
  if (error != std::errc() || dot == end) return false;
  std::from_chars(dot + 1, end, minor);
  return major > 6 || (major == 6 && minor >= 1);
}

void check_huge_pages(const Machine& machine, Findings* out) {
  const std::string meminfo = machine.read("/proc/meminfo");
  const uint64_t total = line_number(meminfo, "HugePages_Total", 10);
  const uint64_t free = line_number(meminfo, "HugePages_Free", 10);
  const uint64_t size_kib = line_number(meminfo, "Hugepagesize", 10);
  if (total > 0) {
    out->push_back({kArea, "huge pages", Level::ok,
                    std::to_string(free) + " of " + std::to_string(total) + " reserved pages of " +
                        std::to_string(size_kib) + " KiB are free",
                    ""});
    return;
  }
  const std::string folder = "/sys/kernel/mm/transparent_hugepage";
  const std::string shmem = machine.read(folder + "/shmem_enabled");
  const bool given = !shmem.empty() && shmem.find("[never]") == std::string::npos &&
                     shmem.find("[deny]") == std::string::npos;
  if (given || (!shmem.empty() && collapses(machine.read("/proc/sys/kernel/osrelease")))) {
    out->push_back(
        {kArea, "huge pages", Level::ok, "none reserved; transparent ones for the slab", ""});
    return;
  }
  out->push_back(
      {kArea, "huge pages", Level::note,
       "neither reserved nor transparent: the slab gets pages of 4 KiB, and costs NIC, GPU "
       "and CPU more look-ups",
       "sysctl vm.nr_hugepages=N (slab / 2 MiB), or echo advise > " + folder + "/shmem_enabled"});
}

}  // namespace

void check_memory(const Machine& machine, const Needs& needs, Findings* out) {
  check_memlock(machine, needs, out);
  check_huge_pages(machine, out);
}

void check_io_uring(const Machine& machine, Findings* out) {
  if (machine.io_uring_errno == 0) {
    out->push_back({"disk", "io_uring", Level::ok, "works", ""});
    return;
  }
  const std::string off = machine.read("/proc/sys/kernel/io_uring_disabled");
  const bool by_kernel = !off.empty() && off != "0";
  out->push_back({"disk", "io_uring", Level::note,
                  std::string("not allowed (") +
                      std::strerror(machine.io_uring_errno) +  // NOLINT(concurrency-mt-unsafe)
                      "): drives are driven by threads, which costs more CPU",
                  by_kernel ? "sysctl kernel.io_uring_disabled=0"
                            : "in a container: a seccomp profile that lets io_uring_setup, "
                              "io_uring_enter and io_uring_register through"});
}

}  // namespace gd2fs::cli::doctor
