#include "base/cores.h"

#include <algorithm>
#include <fstream>
#include <sched.h>
#include <sstream>
#include <thread>

namespace gd2fs {
namespace {

constexpr uint32_t kNoQuota = UINT32_MAX;

uint32_t whole_cores(uint64_t quota_us, uint64_t period_us) {
  if (quota_us == 0 || period_us == 0) return kNoQuota;
  return static_cast<uint32_t>(std::min<uint64_t>((quota_us - 1) / period_us + 1, kNoQuota));
}

// Version 2: "max 100000" or "150000 100000".
uint32_t quota_in(const std::string& folder) {
  uint64_t quota_us = 0;
  uint64_t period_us = 0;
  if (!(std::ifstream(folder + "/cpu.max") >> quota_us >> period_us)) return kNoQuota;
  return whole_cores(quota_us, period_us);
}

// Version 1: -1 where there is none.
uint32_t old_quota_in(const std::string& folder) {
  int64_t quota_us = 0;
  uint64_t period_us = 0;
  if (!(std::ifstream(folder + "/cpu.cfs_quota_us") >> quota_us) || quota_us < 0) return kNoQuota;
  if (!(std::ifstream(folder + "/cpu.cfs_period_us") >> period_us)) return kNoQuota;
  return whole_cores(static_cast<uint64_t>(quota_us), period_us);
}

// Of the group and all above it. Inside a container the mount's top is the container's own group,
// whatever its path is outside.
template <class Quota>
uint32_t least_of(const std::string& mount, std::string path, Quota quota) {
  uint32_t least = quota(mount);
  while (path.size() > 1) {
    least = std::min(least, quota(mount + path));
    path.resize(path.rfind('/'));
  }
  return least;
}

uint32_t scheduled_cores() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  // A machine with more than 1,024 cores does not fit into the set: then all of them.
  if (sched_getaffinity(0, sizeof cores, &cores) == 0 && CPU_COUNT(&cores) > 0) {
    return static_cast<uint32_t>(CPU_COUNT(&cores));
  }
  return std::max(std::thread::hardware_concurrency(), 1U);
}

std::string contents(const char* path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

}  // namespace

uint32_t cores_of_quota(const std::string& groups, const std::string& mount) {
  uint32_t least = kNoQuota;
  std::istringstream lines(groups);
  for (std::string line; std::getline(lines, line);) {  // "4:cpu,cpuacct:/path", "0::/path"
    const size_t names = line.find(':') + 1;
    const size_t path = line.find(':', names) + 1;
    if (names == 0 || path == 0 || path == line.size() || line[path] != '/') continue;
    const std::string controllers = "," + line.substr(names, path - 1 - names) + ",";
    if (controllers == ",,") {
      least = std::min(least, least_of(mount, line.substr(path), quota_in));
    } else if (controllers.find(",cpu,") != std::string::npos) {
      least = std::min(least, least_of(mount + "/cpu", line.substr(path), old_quota_in));
    }
  }
  return least;
}

uint32_t usable_cores() {
  static const uint32_t cores =
      std::min(scheduled_cores(), cores_of_quota(contents("/proc/self/cgroup"), "/sys/fs/cgroup"));
  return cores;
}

}  // namespace gd2fs
